"""Walking through plugin configs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import Path


def texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Every text in a value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))


def items(value: Any) -> list[Any]:
    """The value when it is a list, else nothing: the config of a plugin without a schema may hold anything."""
    return value if isinstance(value, list) else []
