"""A gate plugin cannot belong to a consumer.

The gate plugins run before Kong's authentication plugins, so no consumer is known yet: an instance for one
never runs. Kong refuses it too.

Why: measured on Kong 3.9.3: a consumer's own instance of a plugin above the authentication plugins never
runs.

PASS:
    consumers:
    - username: partner
      plugins:
      - {name: rate-limiting, config: {minute: 60}}

FAIL:
    consumers:
    - username: partner
      plugins:
      - {name: abuse-guard, config: {deny: [203.0.113.0/24]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.plugin_sources import SOURCES

ID = "gate-plugin-on-consumer"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Instances of gate plugins in a consumer or with a `consumer` field."""
    for placed in view.own_plugins:
        plugin = placed.plugin
        if plugin.name in SOURCES and (placed.consumer is not None or plugin.consumer is not None):
            message = f"{plugin.name} runs before a consumer is known; put it on a service or route"
            yield Hit(plugin.path, message)
