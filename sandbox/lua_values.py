"""Values between Python and Lua. Lua strings are bytes: Python sees them as latin-1 text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lupa.luajit21 import LuaRuntime, lua_type


def to_text(value: str) -> str:
    """Real text as latin-1-of-UTF-8, the way Lua holds it."""
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def from_text(value: str) -> str:
    """The other way; bytes that are not UTF-8 become surrogate escapes."""
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


class Converter:
    """Deep conversion of tables. Lists get cjson's array mark, so an empty one stays a list."""

    def __init__(self, runtime: LuaRuntime, null: Any) -> None:
        self._table: Callable[..., Any] = runtime.table
        self._null = null
        self._mark: Callable[[Any], Any] = lambda table: table
        self._marked: Callable[[Any], bool] = lambda table: False

    def set_array_marks(self, mark: Callable[[Any], Any], marked: Callable[[Any], bool]) -> None:
        """Lua functions that set and test the mark of an array."""
        self._mark, self._marked = mark, marked

    def to_lua(self, value: Any, nulls: bool = False) -> Any:
        """Real Python text in, byte strings out. nulls: keep None as ngx.null, else drop the key."""
        if isinstance(value, str):
            return to_text(value)
        if isinstance(value, bytes):
            return value.decode("latin-1")
        if value is None:
            return self._null if nulls else None
        if isinstance(value, dict):
            table = self._table()
            for key, item in value.items():
                if item is not None or nulls:
                    table[to_text(key) if isinstance(key, str) else key] = self.to_lua(item, nulls)
            return table
        if isinstance(value, list | tuple):
            table = self._table()
            for i, item in enumerate(value, 1):
                table[i] = self.to_lua(item, nulls=True)
            return self._mark(table)
        return value

    def to_python(self, value: Any, empty: Any = dict) -> Any:
        """Lua in, real Python text out. An unmarked empty table becomes `empty()`; ngx.null becomes None."""
        if isinstance(value, str):
            return from_text(value)
        kind = lua_type(value)
        if kind is None:
            return value
        if kind != "table":
            return None if kind == "userdata" else value
        items = list(value.items())
        if not items:
            return [] if self._marked(value) else empty()
        n = len(items)
        if all(type(key) is int and 1 <= key <= n for key, _ in items):
            return [self.to_python(value[i], empty) for i in range(1, n + 1)]
        return {
            (from_text(key) if isinstance(key, str) else key): self.to_python(item, empty)
            for key, item in items
        }
