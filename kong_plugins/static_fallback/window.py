"""Sliding windows over the results of calls: the last so many, or those of the last so many seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Sums(NamedTuple):
    """What a window holds."""

    calls: int = 0
    failed: int = 0
    slow: int = 0

    @property
    def failure_rate(self) -> float:
        """Percent of the calls that failed."""
        return 100.0 * self.failed / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Percent of the calls that were slow."""
        return 100.0 * self.slow / self.calls if self.calls else 0.0


class Window(Protocol):
    """Counts results."""

    @property
    def sums(self) -> Sums: ...

    def add(self, failed: bool, slow: bool, now: float) -> None: ...

    def keep(self) -> Any: ...

    def resume(self, kept: Any) -> None: ...


class CountWindow:
    """The last `size` calls."""

    def __init__(self, size: int) -> None:
        self._results: deque[tuple[bool, bool]] = deque()
        self._size = size
        self._failed = self._slow = 0

    @property
    def sums(self) -> Sums:
        """What it holds."""
        return Sums(len(self._results), self._failed, self._slow)

    def add(self, failed: bool, slow: bool, now: float) -> None:
        """Count a call; the oldest goes when there is no room."""
        if len(self._results) >= self._size:
            old_failed, old_slow = self._results.popleft()
            self._failed -= old_failed
            self._slow -= old_slow
        self._results.append((failed, slow))
        self._failed += failed
        self._slow += slow

    def keep(self) -> bytes:
        """What `resume` of another process takes up: a byte a call, bit 0 failed, bit 1 slow."""
        return bytes(failed | slow << 1 for failed, slow in self._results)

    def resume(self, kept: bytes) -> None:
        """Take up what an empty one of the same size kept. Raises TypeError for what it did not."""
        for code in bytes(kept)[-self._size :]:
            self.add(bool(code & 1), bool(code & 2), 0.0)


class TimeWindow:
    """The calls of this second and the `size` - 1 before it. Results come in their own time: one that is late counts
    in the newest second, so a clock that goes back loses nothing."""

    def __init__(self, size: int) -> None:
        self._seconds: deque[list[int]] = deque()
        self._size = size
        self._calls = self._failed = self._slow = 0

    @property
    def sums(self) -> Sums:
        """What it held at the last call."""
        return Sums(self._calls, self._failed, self._slow)

    def add(self, failed: bool, slow: bool, now: float) -> None:
        """Count a call; seconds that have left the window go."""
        second = int(now)
        seconds = self._seconds
        if seconds and seconds[-1][0] >= second:
            second = seconds[-1][0]
        else:
            seconds.append([second, 0, 0, 0])
        newest = seconds[-1]
        newest[1] += 1
        newest[2] += failed
        newest[3] += slow
        self._calls += 1
        self._failed += failed
        self._slow += slow
        while seconds[0][0] <= second - self._size:
            _, calls, old_failed, old_slow = seconds.popleft()
            self._calls -= calls
            self._failed -= old_failed
            self._slow -= old_slow

    def keep(self) -> list[list[int]]:
        """What `resume` of another process takes up: [second, calls, failed, slow], the oldest first."""
        return [list(row) for row in self._seconds]

    def resume(self, kept: Sequence[Sequence[int]]) -> None:
        """Take up what an empty one of the same size kept. Raises TypeError or ValueError for what it did not."""
        for second, calls, failed, slow in kept:
            self._seconds.append([int(second), int(calls), int(failed), int(slow)])
            self._calls += int(calls)
            self._failed += int(failed)
            self._slow += int(slow)
