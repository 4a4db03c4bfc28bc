"""How the file writes a gate plugin's config, where that differs from how Kong holds it.

static-fallback is written with `json:` bodies and numbers in `on`, and is turned into Kong's form when
rendering; the others are written as Kong holds them. `python -m decl.plugin_sources` writes the JSON Schemas
of all four into schemas/plugins/ (a test compares them with the plugins' code).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import schemas
from decl import kong_schema
from kong_plugins.engine import registry
from kong_plugins.static_fallback import config as static_fallback


class SourceForm(NamedTuple):
    """JSON Schema of the file's form, and the way to Kong's form (raises ValueError)."""

    json_schema: Mapping[str, Any]
    to_kong: Callable[[Mapping[str, Any]], dict[str, Any]]


SOURCES: dict[str, SourceForm] = {
    **{
        name: SourceForm(kong_schema.record(plugin.schema), dict) for name, plugin in registry.PLUGINS.items()
    },
    "static-fallback": SourceForm(static_fallback.SOURCE_SCHEMA, static_fallback.to_kong),
}


def to_kong(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A plugin's config as Kong gets it. Raises ValueError when it cannot be translated."""
    source = SOURCES.get(name)
    return dict(config) if source is None else source.to_kong(config)


def check(name: str, config: Mapping[str, Any]) -> str | None:
    """What the gate plugin itself finds wrong in a config of the file, None when it takes it."""
    if name not in SOURCES:
        return None
    try:
        registry.parse_config(name, to_kong(name, config))
    except ValueError as error:
        return str(error).removeprefix(f"{name}: ")
    return None


def json_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one gate plugin's config in the file's form."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"config of {name}, generated from the plugin's code",
        **SOURCES[name].json_schema,
    }


def json_schema_text(name: str) -> str:
    """The text of schemas/plugins/NAME.json."""
    return json.dumps(json_schema(name), indent=2, sort_keys=True) + "\n"


def write(folder: Path) -> None:
    """Write the gate plugins' schemas into a folder."""
    for name in schemas.GATE_PLUGINS:
        (folder / f"{name}.json").write_text(json_schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(schemas.__file__).parent / "plugins")
