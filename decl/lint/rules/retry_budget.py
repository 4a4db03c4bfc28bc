"""Retries and timeouts that together outlast every client.

The worst case is (retries + 1) x the longer of connect and read timeout. Where a service sets one of them,
the product may be `seconds` at most; with `defaults: true` services that leave all of them to Kong (6 x 60
s) are looked at too.

Why: measured on Kong 3.9.3: total tries are retries + 1, each with the full timeout.

PASS:
    services:
    - {name: a, url: http://a, retries: 1, read_timeout: 10000, connect_timeout: 1000}

FAIL:
    services:
    - {name: a, url: http://a, read_timeout: 30000}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "retry-budget"
LEVEL: Level = WARNING
OPTIONS = {"seconds": 120, "defaults": False}

_FIELDS = frozenset(("retries", "connect_timeout", "read_timeout"))


def check(view: View) -> Iterator[Hit]:
    """Services over the budget."""
    budget = view.option(ID, "seconds")
    for service in view.gateway.services:
        fields = service.fields
        if not view.option(ID, "defaults") and _FIELDS.isdisjoint(fields):
            continue
        tries = fields.get("retries", 5) + 1
        longest = max(fields.get("connect_timeout", 60_000), fields.get("read_timeout", 60_000))
        worst = tries * longest / 1000
        if worst > budget:
            message = f"{tries} tries of up to {longest / 1000:g} s make {worst:g} s, over {budget} s"
            yield Hit(service.path, f"{message}; set retries, connect_timeout and read_timeout")
