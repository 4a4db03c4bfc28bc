"""A host with capital letters.

No browser sends one, and Kong compares hosts letter by letter: the route matches nothing. `--fix` writes it
in small letters.

Why: measured on Kong 3.9.3: a request for A.EXAMPLE finds no route with host a.example, and the other way
round.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, hosts: [shop.example]}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - {name: one, hosts: [Shop.example]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.view import View

ID = "host-not-lower-case"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Hosts that are not in small letters."""
    for found in view.routes:
        for index, host in enumerate(found.route.fields.get("hosts") or ()):
            if host != host.lower():
                at = (*found.route.path, "hosts", index)
                yield Hit(at, f"clients send {host.lower()!r}, and case counts", fix=Fix(at, host.lower()))
