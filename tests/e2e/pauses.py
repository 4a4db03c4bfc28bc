"""Notices when the machine did not run one of its processors for a while.

Times of the product are short: a server that stood still for 150 ms leaves unanswered what waited, and Kong waits no
longer than 0.3 s. A virtual machine stands still for longer than that now and then, all of it or one processor.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache

TICK_SECONDS = 0.05
LIMIT_SECONDS = 0.1
PROCESSORS = 8
"""So many are watched at most: a machine with more is none of those that stand still."""


class Pauses:
    """A thread on each processor sleeps again and again; one that wakes too late has seen a pause."""

    def __init__(self) -> None:
        self._last = float("-inf")
        for processor in sorted(os.sched_getaffinity(0))[:PROCESSORS]:
            threading.Thread(target=self._watch, args=(processor,), daemon=True).start()

    def _watch(self, processor: int) -> None:
        os.sched_setaffinity(0, {processor})  # 0 is this thread
        before = time.monotonic()
        while True:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - before > TICK_SECONDS + LIMIT_SECONDS:
                self._last = now
            before = now

    def since(self, begun: float) -> bool:
        """Whether there was one after this time (monotonic seconds)."""
        return self._last >= begun


@cache
def pauses() -> Pauses:
    """Those of this machine; watched from the first call on."""
    return Pauses()
