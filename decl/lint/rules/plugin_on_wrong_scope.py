"""A plugin in a scope that its schema does not allow: on a consumer, or acme anywhere but for all.

Kong's Admin API refuses such an instance, but DB-less Kong takes one that is nested in a consumer, and then never
runs it.

Why: the plugins' schemas of Kong 3.9 (`consumer = typedefs.no_consumer`, `service = typedefs.no_service`); instances
nested in a consumer pass `POST /config` on 3.9.3.

PASS:
    consumers:
    - username: partner
      plugins:
      - {name: rate-limiting, config: {minute: 60}}

FAIL:
    consumers:
    - username: partner
      plugins:
      - {name: cors, config: {origins: ["https://a.example"]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import schemas
from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "plugin-on-wrong-scope"
LEVEL: Level = ERROR

_SCOPES = ("consumer", "route", "service")


def check(view: View) -> Iterator[Hit]:
    """Instances in a scope that the plugin's schema forbids."""
    for placed in view.own_plugins:
        plugin = placed.plugin
        if (forbidden := _forbidden(plugin.name)) is None:
            continue
        for scope in forbidden:
            if getattr(placed, scope) is None and getattr(plugin, scope) is None:
                continue
            then = (
                "it would never run; put it on a route"
                if scope == "consumer" and len(forbidden) == 1
                else "it works for all requests only; put it at the top"
            )
            yield Hit(plugin.path, f"{plugin.name} cannot be bound to a {scope}: {then}")
            break


@cache
def _forbidden(name: str) -> tuple[str, ...] | None:
    """The scopes that a bundled plugin does not allow (`service = typedefs.no_service`)."""
    schema = schemas.kong_plugin(name)
    if schema is None:
        return None
    fields = {field: entry[field] for entry in schema["fields"] for field in entry}
    # `eq: null` is how a node tells it
    return tuple(scope for scope in _SCOPES if "eq" in fields.get(scope, {}))
