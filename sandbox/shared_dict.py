"""ngx.shared.NAME: one dictionary for all workers of a node, with seconds to live."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

Answer = tuple[Any, ...]


@dataclass
class _Item:
    value: Any
    flags: Any
    expires: float | None


class SharedDict:
    """Values are strings, numbers and booleans; the answers are those of OpenResty's functions."""

    def __init__(self) -> None:
        self._items: dict[Any, _Item] = {}

    def call(self, name: str, *args: Any) -> Answer:
        """One of OpenResty's methods by its name."""
        found: Answer = getattr(self, f"do_{name}")(*args)
        return found

    def _live(self, key: Any) -> _Item | None:
        item = self._items.get(key)
        if item is not None and item.expires is not None and item.expires <= time.monotonic():
            del self._items[key]
            return None
        return item

    def do_get(self, key: Any) -> Answer:
        item = self._live(key)
        return (item.value, item.flags) if item else (None,)

    def do_set(self, key: Any, value: Any, ttl: float | None = None, flags: Any = None) -> Answer:
        if value is None:
            self._items.pop(key, None)
        else:
            self._items[key] = _Item(value, flags, time.monotonic() + ttl if ttl and ttl > 0 else None)
        return True, None, False

    def do_add(self, key: Any, value: Any, ttl: float | None = None, flags: Any = None) -> Answer:
        if self._live(key):
            return False, "exists", False
        return self.do_set(key, value, ttl, flags)

    def do_replace(self, key: Any, value: Any, ttl: float | None = None, flags: Any = None) -> Answer:
        if not self._live(key):
            return False, "not found", False
        return self.do_set(key, value, ttl, flags)

    def do_incr(self, key: Any, by: float, init: float | None = None, ttl: float | None = None) -> Answer:
        item = self._live(key)
        if item is None:
            if init is None:
                return None, "not found"
            self.do_set(key, init + by, ttl)
            return init + by, None, False
        if isinstance(item.value, bool) or not isinstance(item.value, int | float):
            return None, "not a number"
        item.value += by
        return item.value, None, False

    def do_delete(self, key: Any) -> Answer:
        self._items.pop(key, None)
        return (None,)

    def do_flush_all(self) -> Answer:
        self._items.clear()
        return (None,)

    def do_flush_expired(self, limit: int = 0) -> Answer:
        gone = [key for key in list(self._items) if self._live(key) is None]
        return (len(gone),)

    def do_keys(self) -> Answer:
        return tuple(key for key in list(self._items) if self._live(key) is not None)

    def do_ttl(self, key: Any) -> Answer:
        item = self._live(key)
        if item is None:
            return None, "not found"
        return (0 if item.expires is None else item.expires - time.monotonic(),)


class SharedDicts:
    """The dictionaries of one node by name."""

    def __init__(self) -> None:
        self._dicts: dict[str, SharedDict] = {}

    def call(self, dict_name: str, method: str, *args: Any) -> Answer:
        """A method of one of them."""
        return self._dicts.setdefault(dict_name, SharedDict()).call(method, *args)
