"""The retry budget of one service: no retries while too many first tries fail.

Retries multiply the load on a service that is already failing. What is looked at are first tries, so the share
does not fall because the retries were taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kong_plugins.static_fallback.window import TimeWindow

WINDOW_SECONDS = 10
MINIMUM_CALLS = 20


class Budget:
    """limit: percent of failed first tries. It is used up at the limit, and there again below half of it."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.used_up = False
        self._window = TimeWindow(WINDOW_SECONDS)
        self.used = 0.0

    @property
    def share(self) -> float:
        """Percent of failed first tries in the window."""
        return self._window.sums.failure_rate

    @property
    def calls(self) -> int:
        """In the window."""
        return self._window.sums.calls

    def record(self, failed_first: bool, now: float) -> bool:
        """Count a call; True when the state has changed."""
        self.used = now
        self._window.add(failed_first, False, now)
        before = self.used_up
        if self.calls >= MINIMUM_CALLS:
            self.used_up = self.share >= (self.limit / 2 if before else self.limit)
        return self.used_up != before

    def tick(self, now: float) -> bool:
        """A budget that nobody uses any more is there again; True when the state has changed."""
        if self.used_up and now - self.used > WINDOW_SECONDS:
            self.used_up = False
            self._window = TimeWindow(WINDOW_SECONDS)
            return True
        return False

    def keep(self) -> list[Any]:
        """What `resume` of another process takes up."""
        return [self.used_up, self.used, self._window.keep()]

    def resume(self, kept: Sequence[Any]) -> None:
        """Go on where another process stood. Raises ValueError or TypeError for what `keep` did not write."""
        used_up, used, window = kept
        self.used_up, self.used = bool(used_up), float(used)
        self._window.resume(window)
