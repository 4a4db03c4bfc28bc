"""A host with a dot at its end.

A request for `shop.example` does not match it. `--fix` takes the dot away.

Why: measured on Kong 3.9.3: a trailing dot does not match in either direction.

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
      - {name: one, hosts: [shop.example.]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Fix, Hit
from decl.lint.view import View

ID = "host-trailing-dot"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Hosts that end in a dot."""
    for found in view.routes:
        for index, host in enumerate(found.route.fields.get("hosts") or ()):
            if host.endswith("."):
                at = (*found.route.path, "hosts", index)
                yield Hit(at, f"clients send {host[:-1]!r} without the dot", fix=Fix(at, host.rstrip(".")))
