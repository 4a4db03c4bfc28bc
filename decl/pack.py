"""The schema pack: plugin schemas as a live Kong tells them, kept in the repository.

`kgate schema pull` writes a folder with one file a plugin, NAME.json: the answer of `GET
/schemas/plugins/NAME`, without descriptions. With it the configs of plugins that kgate does not know are
checked offline, by the very version that the nodes run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from decl import kong_schema
from decl.validate.schema import Checker, checker, plugin_checker


class Pack:
    """Checkers for plugin configs: those shipped with kgate, and those of a pack, made when first used."""

    def __init__(self, plugins: Mapping[str, Any] | None = None) -> None:
        self._plugins = dict(plugins or {})
        self._checkers: dict[str, Checker | None] = {}

    @property
    def names(self) -> frozenset[str]:
        """The plugins that the pack has."""
        return frozenset(self._plugins)

    def checker(self, name: str) -> Checker | None:
        """The checker of a plugin's config, None when neither knows the plugin. Raises ValueError for a
        schema that is none."""
        own = plugin_checker(name)
        if own is not None or name not in self._plugins:
            return own
        if name not in self._checkers:
            self._checkers[name] = checker(kong_schema.record(config_fields(self._plugins[name])))
        return self._checkers[name]


def config_fields(schema: Any) -> list[Any]:
    """The fields of `config` in a plugin's schema. Raises ValueError when it has none."""
    for entry in schema.get("fields", ()) if isinstance(schema, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("config"), dict):
            fields = entry["config"].get("fields", [])
            return fields if isinstance(fields, list) else []
    raise ValueError("not a plugin's schema: it has no field config")


def stripped(schema: Any) -> Any:
    """A schema without what is only for people, so that a pack stays small and its diffs are about fields."""
    if isinstance(schema, dict):
        return {name: stripped(value) for name, value in schema.items() if name not in ("description", "err")}
    if isinstance(schema, list):
        return [stripped(item) for item in schema]
    return schema


def text(schema: Any) -> str:
    """The text of NAME.json. Raises ValueError when the answer is no plugin's schema."""
    config_fields(schema)
    return json.dumps(stripped(schema), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
