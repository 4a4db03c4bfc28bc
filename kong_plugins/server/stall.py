"""Notices that this process stood still (SIGSTOP, a long garbage collection, a busy machine).

Kong gives up on an answer after its read timeout, and puts the connection back into its pool: an answer that comes
later is read as the answer to another request. So a process that stood still for more than half of that time
answers nothing of what it finds waiting: it closes the connections that have something to read. On the others Kong
waits for nothing, and whatever comes on them later is new.
"""

from __future__ import annotations

import logging
import select
from collections.abc import Callable, Iterable

log = logging.getLogger("kgate.server")

LIMIT_SECONDS = 0.150
"""Half of Kong's read timeout (kong_env.READ_TIMEOUT_MS)."""
TICK_SECONDS = 0.020


def waiting(fds: Iterable[int]) -> set[int]:
    """Of these sockets, those that have something to read now (or have ended)."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return {fd for fd, _event in poller.poll(0)}


class Stall:
    """Call `tick` every TICK_SECONDS; `happened` tells whether it came too late, and then calls `on_stall`.

    clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float], on_stall: Callable[[], None]) -> None:
        self._on_stall = on_stall
        self._last = clock()
        self.clock = clock
        self.count = 0

    def happened(self) -> bool:
        """Whether the process has just stood still; then what was waiting has been told to close."""
        now = self.clock()
        stood = now - self._last
        if stood <= LIMIT_SECONDS:
            return False
        self._last = now
        self.count += 1
        log.error("stood still for %.0f ms: what waited meanwhile is closed unanswered", stood * 1000)
        self._on_stall()
        return True

    def tick(self) -> None:
        """The event loop runs."""
        if not self.happened():
            self._last = self.clock()
