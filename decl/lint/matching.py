"""Which requests routes want, for rules that compare routes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]


class Key(NamedTuple):
    """One combination of what a route matches; "" matches anything. `rest` is all else, as text."""

    host: str
    path: str
    method: str
    rest: str


def keys(fields: Fields) -> Iterator[Key]:
    """Every host, path and method of a route combined."""
    rest = ""
    if any(fields.get(name) for name in _REST):
        rest = json.dumps([_sorted(fields.get(name)) for name in _REST], sort_keys=True)
    priority = fields.get("regex_priority") or 0
    for host in fields.get("hosts") or ("",):
        for path in fields.get("paths") or ("",):
            own = f"{rest} {priority}" if priority and path.startswith("~") else rest
            for method in fields.get("methods") or ("",):
                yield Key(host, path, method, own)


_REST = ("headers", "snis", "sources", "destinations", "protocols")


def _sorted(value: Any) -> Any:
    return sorted(value, key=str) if isinstance(value, list) else value


def compile_path(path: str) -> re.Pattern[str] | None:
    """A `~` path as Python's regex, None for one that Python does not understand."""
    try:
        return re.compile(path[1:])
    except re.error:
        return None


def covers(wider: Fields, narrower: Fields) -> bool:
    """Whether a route's other conditions let everything through that another's let through, with the same
    weight: Kong looks at the number of matched conditions first."""
    if not set(narrower.get("protocols") or _WEB) <= set(wider.get("protocols") or _WEB):
        return False
    return all(
        _same(wider.get(field), narrower.get(field)) for field in ("hosts", "methods", "headers", "snis")
    )


_WEB = ("http", "https")  # Kong's default protocols


def _same(one: Any, two: Any) -> bool:
    if not one or not two:
        return not one and not two
    if isinstance(one, dict):
        return bool(one == two)
    return set(two) <= set(one)
