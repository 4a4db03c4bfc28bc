"""decK's shared plugin configs: `_plugin_configs` at the top, and `_config: NAME` in a plugin.

The plugin's own `config` stands above the shared one, field by field. Kong knows neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decl.findings import Path, Problem


def shared_configs(document: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The document with the shared configs written into the plugins, and names that are not there."""
    shared = document.get("_plugin_configs")
    problems: list[Problem] = []
    known = shared if isinstance(shared, dict) else {}
    rest = {name: value for name, value in document.items() if name != "_plugin_configs"}
    return _resolved(rest, (), known, problems), problems


def _resolved(value: Any, path: Path, known: Mapping[str, Any], problems: list[Problem]) -> Any:
    if isinstance(value, list):
        return [_resolved(item, (*path, index), known, problems) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    result = {
        name: item if name == "config" else _resolved(item, (*path, name), known, problems)
        for name, item in value.items()
    }
    name = result.pop("_config", None)
    if name is None:
        return result
    if name not in known:
        message = f"there is no {name!r} in _plugin_configs"
        problems.append(Problem((*path, "_config"), "dangling-reference", message))
        return result
    own = result.get("config")
    result["config"] = {**known[name], **(own if isinstance(own, dict) else {})}
    return result
