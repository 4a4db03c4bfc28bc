"""An entity that only Kong Enterprise has.

Stock Kong refuses the whole config because of it.

Why: Kong 3.9.3 answers 404 at /consumer_groups and 400 `unknown field` at POST /config.

PASS:
    consumers:
    - {username: gold-user, acls: [{group: gold}]}

FAIL:
    consumer_groups:
    - {name: gold}

FAIL:
    consumers:
    - {username: gold-user, groups: [{name: gold}]}

FAIL:
    plugins:
    - {name: cors, ordering: {before: {access: [key-auth]}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "enterprise-entity"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Consumer groups, consumers in them, and plugins in an order of their own."""
    for item in view.gateway.items:
        if item.kind == "consumer_groups":
            yield Hit(item.path, "stock Kong has no consumer_groups; use acls, or a plugin on each consumer")
    for consumer in view.gateway.consumers:
        if consumer.fields.get("groups"):
            yield Hit((*consumer.path, "groups"), "stock Kong has no consumer groups; use acls")
    for _, _, plugin in view.gateway.all_plugins():
        if plugin.fields.get("ordering"):
            yield Hit(
                (*plugin.path, "ordering"), "stock Kong has no ordering of plugins: their priorities decide"
            )
