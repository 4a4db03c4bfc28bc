"""The adapter's plugins are written by render, never by hand.

`kgate` and `kgate-facts` hold the guard: a second instance on a route replaces the global one whole, and the
route would pass without its guard.

PASS:
    plugins:
    - name: cors

FAIL:
    services:
    - name: cart
      url: http://cart:8080
      plugins:
      - name: kgate
        config: {socket: /tmp/my.sock}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.adapter import NAMES
from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.model import Gateway

ID = "adapter-in-source"
LEVEL: Level = ERROR


def check(gateway: Gateway) -> Iterator[Hit]:
    """Instances of the adapter's plugins anywhere in the files."""
    plugins = [plugin for _, _, plugin in gateway.all_plugins()]
    plugins += [plugin for consumer in gateway.consumers for plugin in consumer.plugins]
    for plugin in plugins:
        if plugin.name in NAMES:
            yield Hit(
                plugin.path, f"plugin {plugin.name!r} is the gateway's own and is added by render; remove it"
            )
