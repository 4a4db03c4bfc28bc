"""The newest control state as the supervisor holds it: what a worker that starts gets before it serves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from kong_plugins.server.channel import IMAGE
from kong_plugins.server.handle import Handle
from kong_plugins.state.overlay import unpack_changes
from kong_plugins.state.records import Put

MAX_LOCAL = 10_000
"""Changes without a store that are kept; the oldest go first."""
WRITTEN_SECONDS = 30.0
"""So long after a change was written it is kept: the keeper may not follow the store again yet."""

_Names = tuple[tuple[str, str], ...]
"""Collection and key of each change."""


class Feed:
    """The last image and the changes since, passed on as they are. `settled`: it is known what there is, or that
    there is nothing; until then a worker that starts waits. clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.settled = False
        self.empty = False
        """There is no store: nothing is blocked or revoked."""
        self._fd = -1
        self._version = 0
        self._deltas: list[Any] = []
        self._local: dict[_Names, list[Any]] = {}
        """By what they change."""
        self._written: dict[_Names, float] = {}
        """Of these, when those that the store has can be forgotten."""

    def greet(self, process: Handle) -> None:
        """Give a new process everything."""
        if self._fd >= 0:
            process.send(IMAGE, self._version, self._deltas, self._own(), fd=os.dup(self._fd))
        if self.settled:
            process.send("go", self.empty)
        if self._fd < 0:
            for delta in self._own():
                process.send("delta", delta)

    def settle(self, waiting: Iterable[Handle]) -> None:
        """It is known what there is: whoever waits may begin."""
        if not self.settled:
            self.settled = True
            for process in waiting:
                process.send("go", self.empty)

    def image(self, version: int, deltas: list[Any], fd: int, workers: Iterable[Handle]) -> None:
        """A new image, with the changes since; the descriptor is now the feed's."""
        self.clear()
        self._version, self._deltas, self._fd = version, deltas, fd
        local = self._own()
        for worker in workers:
            worker.send(IMAGE, version, deltas, local, fd=os.dup(fd))

    def delta(self, delta: Any, workers: Iterable[Handle]) -> None:
        """A change."""
        self._deltas.append(delta)
        if self._written:  # the store is followed again: its word came, and may be another one
            for name in _names(delta[1]):
                if self._written.pop((name,), None) is not None:
                    self._local.pop((name,), None)
        for worker in workers:
            worker.send("delta", delta)

    def local(self, packed: bytes, workers: Iterable[Handle]) -> None:
        """Changes that this node made without the store. They are sent again with each image, until the store has
        them: a record ends by its own time."""
        version = self._deltas[-1][0] if self._deltas else self._version
        delta: list[Any] = [version, packed, {}]
        names = _names(packed)
        self._local.pop(names, None)
        self._written.pop(names, None)
        if len(self._local) >= MAX_LOCAL:
            self._local.pop(next(iter(self._local)))
        self._local[names] = delta
        for worker in workers:
            worker.send("delta", delta)

    def written(self, collection: str, key: str) -> None:
        """The store has a change that was made without it: from now on its word counts, which operators change."""
        names = ((collection, key),)
        if names in self._local:
            self._written.setdefault(names, self._clock() + WRITTEN_SECONDS)

    def _own(self) -> list[Any]:
        now = self._clock()
        for names in [names for names, end in self._written.items() if now >= end]:
            del self._written[names]
            self._local.pop(names, None)
        return list(self._local.values())

    def clear(self) -> None:
        """Forget the image: the state of another store comes."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._version, self._deltas = -1, 0, []


def _names(packed: bytes) -> _Names:
    return tuple(
        (each.record.collection, each.record.key) if isinstance(each, Put) else (each.collection, each.key)
        for each in unpack_changes(packed)
    )
