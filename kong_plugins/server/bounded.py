"""A dict that forgets the longest unused entries."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class Bounded(OrderedDict[Any, Any]):
    """At most `limit` entries, added with `put`."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def put(self, key: Any, value: Any) -> None:
        """Add or renew an entry; the longest unused one goes when there are too many."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._limit:
            self.popitem(last=False)
