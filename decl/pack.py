"""The schema pack: plugin schemas as a live Kong tells them, kept in the repository.

`kgate schema pull` writes a folder with one file a plugin, NAME.json: the answer of `GET
/schemas/plugins/NAME`, without descriptions. With it the configs of plugins that kgate does not know are
checked offline, by the very version that the nodes run. The bundled plugins of Kong 3.9 are shipped in the same form,
for repositories without a pack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import schemas
from decl.validate.kong_checks import config_of, kong_checker
from decl.validate.schema import Checker, plugin_checker
from decl.validate.without_database import CLUSTER_POLICY


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
        """The checker of a plugin's config, None when nobody knows the plugin: ours, then the pack's, then that of
        Kong 3.9. Raises ValueError for a schema that is none."""
        if name in schemas.GATE_PLUGINS or name not in self._plugins:
            return _ours(name)
        if name not in self._checkers:
            self._checkers[name] = kong_checker(self._plugins[name], name)
        return self._checkers[name]


@cache
def _ours(name: str) -> Checker | None:
    """By the JSON Schema written by hand, then by Kong's own checks."""
    written, shipped = plugin_checker(name), _shipped(name)
    if written is None or shipped is None:
        return written or shipped
    return written._replace(more=shipped.problems)


@cache
def _shipped(name: str) -> Checker | None:
    schema = schemas.kong_plugin(name)
    return None if schema is None else kong_checker(_of_all_modes(name, schema), name)


def _of_all_modes(name: str, schema: Any) -> Any:
    """With the policy that a node without a database does not tell (see decl.validate.without_database)."""
    if name not in CLUSTER_POLICY:
        return schema
    return {
        **schema,
        "fields": [
            {
                "config": {
                    **entry["config"],
                    "fields": [
                        {"policy": {**field["policy"], "one_of": ["local", "cluster", "redis"]}}
                        if "policy" in field
                        else field
                        for field in entry["config"]["fields"]
                    ],
                }
            }
            if "config" in entry
            else entry
            for entry in schema["fields"]
        ],
    }


def stripped(schema: Any) -> Any:
    """A schema without what is only for people, so that a pack stays small and its diffs are about fields."""
    if isinstance(schema, dict):
        drawn = bool(schema.get("encrypted")) and isinstance(schema.get("default"), str)
        kept = {
            name: stripped(value)
            for name, value in schema.items()
            if name not in ("description", "err") and not (drawn and name == "default")
        }
        return {**kept, "auto": True} if drawn else kept  # a secret of that one node
    if isinstance(schema, list):
        return [stripped(item) for item in schema]
    return schema


def text(schema: Any) -> str:
    """The text of NAME.json. Raises ValueError when the answer is no plugin's schema."""
    config_of(schema)
    return json.dumps(stripped(schema), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
