"""The JSON Schemas of a kgate file, as package data.

gateway.json describes the file; plugins/NAME.json one plugin's `config` each. The gate plugins' files are
generated from the plugins' own Kong schemas (`python -m decl.plugin_sources` writes them), those of Kong's
bundled plugins are written by hand.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

GATE_PLUGINS = ("abuse-guard", "canary-router", "passport", "static-fallback")
BUNDLED_PLUGINS = ("cors", "ip-restriction", "jwt", "key-auth", "rate-limiting", "request-termination")
PLUGINS = frozenset(GATE_PLUGINS + BUNDLED_PLUGINS)
"""The plugins whose config is looked into; any other plugin's config is left to Kong."""


@cache
def gateway() -> dict[str, Any]:
    """The schema of a whole file. Do not change the result: it is shared."""
    return _read("gateway.json")


@cache
def plugin(name: str) -> dict[str, Any] | None:
    """The schema of a plugin's `config`, None for a plugin that is not known. Do not change the result."""
    return _read("plugins", f"{name}.json") if name in PLUGINS else None


def _read(*path: str) -> dict[str, Any]:
    text = resources.files(__name__).joinpath(*path).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
