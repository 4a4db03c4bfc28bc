"""The newest control state as the supervisor holds it: what a worker that starts gets before it serves."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from typing import Any

from kong_plugins.server.channel import IMAGE
from kong_plugins.server.handle import Handle

MAX_LOCAL = 10_000
"""Changes without a store that are kept; the oldest go first."""


class Feed:
    """The last image and the changes since, passed on as they are. `settled`: it is known what there is, or that
    there is nothing; until then a worker that starts waits."""

    def __init__(self) -> None:
        self.settled = False
        self.empty = False
        """There is no store: nothing is blocked or revoked."""
        self._fd = -1
        self._version = 0
        self._deltas: list[Any] = []
        self._local: deque[Any] = deque(maxlen=MAX_LOCAL)

    def greet(self, process: Handle) -> None:
        """Give a new process everything."""
        if self._fd >= 0:
            process.send(IMAGE, self._version, self._deltas, list(self._local), fd=os.dup(self._fd))
        if self.settled:
            process.send("go", self.empty)
        if self._fd < 0:
            for delta in self._local:
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
        local = list(self._local)  # the store may not know of these yet
        for worker in workers:
            worker.send(IMAGE, version, deltas, local, fd=os.dup(fd))

    def delta(self, delta: Any, workers: Iterable[Handle]) -> None:
        """A change."""
        self._deltas.append(delta)
        for worker in workers:
            worker.send("delta", delta)

    def local(self, packed: bytes, workers: Iterable[Handle]) -> None:
        """Changes that this node made without the store. They are sent again with each image: a record ends by its
        own time, and what the store holds of the same thing comes later and counts."""
        version = self._deltas[-1][0] if self._deltas else self._version
        delta: list[Any] = [version, packed, {}]
        self._local.append(delta)
        for worker in workers:
            worker.send("delta", delta)

    def clear(self) -> None:
        """Forget the image: the state of another store comes."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._version, self._deltas = -1, 0, []
