"""A node that asks to be tried again later (429, or 503 with Retry-After): how long it is waited for, and what is
said meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BUDGET = 60.0
"""Seconds that one operation waits for a busy node in all."""

_DEFAULT = 1.0
_SHORTEST = 0.1  # a node that says 0 is not asked in a loop without a pause
_SLICE = 10.0  # a lock is renewed meanwhile
_LONGEST = 10 * 366 * 86400.0  # more is no date that anybody means


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Seconds that an answer asks to wait, None when it does not say (RFC 9110 section 10.2.3: seconds or a date).

    headers: by lower-case name. wall: Unix seconds, for a date in an answer that has no Date itself.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), _LONGEST)
    then = _unix(text)
    if then is None:
        return None
    now = _unix(headers.get("date", ""))
    return min(max(then - (wall if now is None else now), 0.0), _LONGEST)


def _unix(text: str) -> float | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


class Waiting:
    """The waiting of one operation. budget: seconds in all. notice: gets a line before each pause. lost: asked every
    10 seconds of a pause, why nothing may be done any more. now and wall (monotonic and Unix seconds) and sleep are
    for tests."""

    def __init__(
        self,
        budget: float,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        notice: Callable[[str], None] = lambda line: None,
        wall: Callable[[], float] = time.time,
        lost: Callable[[], str | None] | None = None,
    ) -> None:
        self._lost = lost
        self._budget, self._end = budget, now() + budget
        self._now, self._sleep, self._notice, self._wall = now, sleep, notice, wall

    def wait(self, node: str, seconds: float | None) -> str | None:
        """Wait as long as the node asks (None: it does not say). What is wrong when that is more than is left, or
        when nothing may be done any more."""
        pause = max(_DEFAULT if seconds is None else seconds, _SHORTEST)
        if self._now() + pause > self._end:
            if seconds is None:
                return f"was still busy after {self._budget:g} s; try again later"
            then = datetime.fromtimestamp(self._wall() + seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            return (
                f"is busy and asks to be tried again in {seconds:g} s, and a busy node is waited for "
                f"{self._budget:g} s at most; try again after {then}"
            )
        self._notice(f"{node}: is busy; trying again in {pause:g} s")
        if self._lost is None:
            self._sleep(pause)
            return None
        while pause > 0:
            self._sleep(min(pause, _SLICE))
            pause -= _SLICE
            if (reason := self._lost()) is not None:
                return reason
        return None
