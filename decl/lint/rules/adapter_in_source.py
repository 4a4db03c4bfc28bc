"""The adapter's plugins are written by render, never by hand.

`kgate` and `kgate-facts` hold the guard: a second instance on a route replaces the global one whole, and
the route would pass without its guard.

Why: measured on Kong 3.9.3: the most specific instance of a plugin replaces the others, whole; DB-less Kong
takes a nested instance even where the plugin's schema forbids one.

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
from decl.lint.view import View

ID = "adapter-in-source"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Instances of the adapter's plugins anywhere in the files."""
    for placed in view.own_plugins:
        name = placed.plugin.name
        if name in NAMES:
            message = f"plugin {name!r} is the gateway's own and is added by render; remove it"
            yield Hit(placed.plugin.path, message)
