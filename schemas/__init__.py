"""The JSON Schemas of a kgate file, as package data.

gateway.json describes the file; plugins/NAME.json one plugin's `config` each. The gate plugins' files are
generated from the plugins' own Kong schemas (`python -m decl.plugin_sources` writes them), those of the bundled
plugins that gateways use most are written by hand. kong/NAME.json are the schemas of all of Kong 3.9's bundled
plugins, in Kong's own schema language, as `kgate schema pull` writes them of a live node.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

GATE_PLUGINS = ("abuse-guard", "canary-router", "passport", "static-fallback")
BUNDLED_PLUGINS = ("cors", "ip-restriction", "jwt", "key-auth", "rate-limiting", "request-termination")
PLUGINS = frozenset(GATE_PLUGINS + BUNDLED_PLUGINS)
"""The plugins that have a JSON Schema here."""

KONG_VERSION = "3.9"
"""Whose plugins kong/ describes; a pack of a live node goes before it."""


@cache
def gateway() -> dict[str, Any]:
    """The schema of a whole file. Do not change the result: it is shared."""
    return _read("gateway.json")


@cache
def plugin(name: str) -> dict[str, Any] | None:
    """The schema of a plugin's `config`, None for a plugin that is not known. Do not change the result."""
    return _read("plugins", f"{name}.json") if name in PLUGINS else None


@cache
def kong_plugin(name: str) -> dict[str, Any] | None:
    """A bundled plugin's schema as a node tells it, None for another plugin. Do not change the result."""
    return _read("kong", f"{name}.json") if name in kong_plugins() else None


@cache
def kong_plugins() -> frozenset[str]:
    """The plugins that kong/ describes."""
    return frozenset(
        file.name.removesuffix(".json")
        for file in resources.files(__name__).joinpath("kong").iterdir()
        if file.name.endswith(".json")
    )


def _read(*path: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(*path).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
