"""Two names that differ in small and capital letters only.

Kong takes them for two; people, dashboards and case-blind file systems do not.

Why: measured on Kong 3.9.3: services `A` and `a` are two, names are compared letter by letter and the id is
derived from exactly these letters.

PASS:
    services:
    - {name: cart, url: http://a}
    - {name: pay, url: http://b}

FAIL:
    services:
    - {name: cart, url: http://a}
    - {name: Cart, url: http://b}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level, Path
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "name-differs-by-case"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Services, routes and upstreams by their name in small letters."""
    gateway = view.gateway
    for items in (gateway.services, [found.route for found in view.routes], gateway.upstreams):
        seen: dict[str, tuple[str, Path]] = {}
        for item in items:
            name, first = seen.setdefault(item.name.lower(), (item.name, item.path))
            if name != item.name:
                yield Hit(
                    (*item.path, "name"), f"{item.name!r} and {name!r} differ by case only", first=first
                )
