"""The gate plugins: an explicit literal, order and priority as data.

    bot-detection 2500, cors 2000           Kong's own, before us
      kgate-facts     1906                  adapter: collects the facts
      abuse-guard     1905   \\
      passport        1904    \\  one chain, run once a request
      canary-router   1903    /
      static-fallback 1902   /
      kgate           1900                  adapter: guard and effects
    jwt 1450 ... request-termination 2      Kong's own, after us
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kong_plugins.abuse_guard import config as abuse_guard
from kong_plugins.canary_router import config as canary_router
from kong_plugins.passport import config as passport
from kong_plugins.static_fallback import config as static_fallback

VERSION = "0.1.0"


class GatePlugin(NamedTuple):
    """One gate plugin: its Kong name and priority, its Kong schema fields, and its config parser.

    `parse` takes Kong's config record and returns a frozen dataclass; it raises ValueError naming
    the field.
    """

    name: str
    priority: int
    schema: list[dict[str, Any]]
    parse: Callable[[Mapping[str, Any]], Any]


PLUGINS: dict[str, GatePlugin] = {
    p.name: p
    for p in (
        GatePlugin("abuse-guard", 1905, abuse_guard.SCHEMA, abuse_guard.parse),
        GatePlugin("passport", 1904, passport.SCHEMA, passport.parse),
        GatePlugin("canary-router", 1903, canary_router.SCHEMA, canary_router.parse),
        GatePlugin("static-fallback", 1902, static_fallback.SCHEMA, static_fallback.parse),
    )
}


def field_names(name: str) -> frozenset[str]:
    """The fields of a plugin's config, by its Kong schema."""
    return frozenset(next(iter(field)) for field in PLUGINS[name].schema)


def parse_config(name: str, raw: Mapping[str, Any]) -> Any:
    """Parse one plugin's Kong config. Kong's own extra keys (`__key__`, `route_id` ...) are dropped.

    Raises ValueError naming the plugin and the field.
    """
    plugin = PLUGINS.get(name)
    if plugin is None:
        raise ValueError(f"{name}: not a gate plugin")
    known = field_names(name)
    try:
        return plugin.parse({key: value for key, value in raw.items() if key in known})
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
