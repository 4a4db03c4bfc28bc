"""A deadline for decisions: an interval timer raises in the code that takes too long.

Only Python code can be stopped this way. For C code that never returns (a catastrophic regular expression) the
supervisor's watchdog kills the worker.
"""

from __future__ import annotations

import resource
import signal
import time
from types import FrameType

_WHOSE = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
TICKS = 4
"""Looks at the clock within one deadline: a decision is stopped between 1 and 1 + 1/TICKS of it."""
PATIENCE = 3
"""Deadlines for a decision that did not run because it sleeps."""
STARVED = 6
"""Deadlines for one that did not run because the machine is busy with other work: after that Kong has given up."""


class DeadlinePassed(BaseException):
    """The decision took too long. Not an Exception: no filter shall catch it by accident."""


class Deadline:
    """Marks the time a decision runs: `with deadline: ...`. One per process, in its main thread."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._started = 0.0
        self._seen = 0.0  # the start of the decision at the last look, and the processor time then
        self._cpu = 0.0
        self._sleeps = 0

    def install(self) -> None:
        """Start the timer. In the main thread."""
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, self.seconds / TICKS, self.seconds / TICKS)

    def uninstall(self) -> None:
        """Stop the timer."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _tick(self, _signal: int, _frame: FrameType | None) -> None:
        started = self._started
        if not started:
            return
        cpu, sleeps = time.thread_time(), resource.getrusage(_WHOSE).ru_nvcsw
        if started != self._seen:
            self._seen, self._cpu, self._sleeps = started, cpu, sleeps
        passed = time.monotonic() - started
        # not for waiting until the machine lets it run: that would fail good requests because others are many
        ran = cpu - self._cpu >= self.seconds / 2
        patience = PATIENCE if sleeps > self._sleeps else STARVED
        if passed > self.seconds and (ran or passed > patience * self.seconds):
            self._started = 0.0
            raise DeadlinePassed

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_error: object) -> None:
        self._started = 0.0
