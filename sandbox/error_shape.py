"""Forms of Kong's error tables: as text, and as the flat rows of `flattened_errors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def lua_literal(value: Any) -> str:
    """A value as Kong prints error tables."""
    if isinstance(value, Mapping):
        parts = [
            f"{key if str(key).isidentifier() else '[' + json.dumps(key) + ']'}={lua_literal(v)}"
            for key, v in sorted(value.items())
        ]
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list):
        holes = None in value
        parts = [
            (f"[{i}]=" if holes else "") + lua_literal(v) for i, v in enumerate(value, 1) if v is not None
        ]
        return "{" + ",".join(parts) + "}"
    return json.dumps(value, ensure_ascii=False)


def lua_pretty(value: Any, indent: str = "") -> str:
    """A value as Kong prints a table inside of another one's message: over several lines."""
    if not isinstance(value, Mapping | list):
        return lua_literal(value)
    keyed = isinstance(value, Mapping)
    pairs = sorted(value.items()) if isinstance(value, Mapping) else enumerate(value, 1)
    lines = []
    for key, item in pairs:
        if item is not None:
            name = (key if str(key).isidentifier() else f"[{json.dumps(key)}]") + " = " if keyed else ""
            lines.append(f"{indent}  {name}{lua_pretty(item, indent + '  ')}")
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def rows(path: str, error: Any) -> list[dict[str, Any]]:
    """One row for each text in the errors of a field, the last field first."""
    if isinstance(error, Mapping):
        found = []
        for key, value in sorted(error.items(), reverse=True):
            if key == "@entity":
                found += [{"type": "entity", "message": text} for text in value]
            else:
                found += rows(f"{path}.{key}" if path else key, value)
        return found
    if isinstance(error, list):
        return rows(path, {str(i): value for i, value in enumerate(error, 1) if value is not None})
    return [{"type": "field", "field": path, "message": error}]
