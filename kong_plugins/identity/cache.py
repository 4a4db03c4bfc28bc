"""Small bounded caches that cost one or two dictionary look-ups on the request path."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """A mapping of at most 2 * limit entries that forgets what was not used for long.

    Two generations instead of a linked list: when the young one is full it becomes the old one, and an
    entry that is used again moves back to the young one. So each entry outlives at least `limit` others.
    """

    __slots__ = ("_old", "_young", "limit")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("limit: expected at least 1")
        self.limit = limit
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """The value, or None."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keep a value (not None)."""
        if len(self._young) >= self.limit and key not in self._young:
            self._old = self._young
            self._young = {}
        self._young[key] = value
        self._old.pop(key, None)
