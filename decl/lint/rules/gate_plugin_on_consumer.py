"""A gate plugin cannot belong to a consumer.

The gate plugins run before Kong's authentication plugins, so no consumer is known yet: an instance for one
never runs. Kong refuses it too.

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
from decl.model import Gateway
from decl.plugin_sources import SOURCES

ID = "gate-plugin-on-consumer"
LEVEL: Level = ERROR


def check(gateway: Gateway) -> Iterator[Hit]:
    """Instances of gate plugins in a consumer or with a `consumer` field."""
    plugins = [plugin for _, _, plugin in gateway.all_plugins() if plugin.consumer is not None]
    plugins += [plugin for consumer in gateway.consumers for plugin in consumer.plugins]
    for plugin in plugins:
        if plugin.name in SOURCES:
            yield Hit(
                plugin.path, f"{plugin.name} runs before a consumer is known; put it on a service or route"
            )
