"""The circuit breaker of one service or route: a state machine with resilience4j's meaning, by injected time.

    closed     calls pass and are counted. Enough of them in the window, and one rate at its threshold: open
    open       calls are refused; after `open_seconds` (longer with each opening in a row): half-open
    half-open  so many trial calls pass, the others are refused. Enough results: closed, or open again

A call that began before the state did is not counted: a request that hung for 30 s says nothing about a service that
was found well meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kong_plugins.static_fallback.breaker_config import BreakerConfig
from kong_plugins.static_fallback.window import CountWindow, Sums, TimeWindow, Window

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"


class Change(NamedTuple):
    """A change of state and the numbers that caused it. cause: failure_rate, slow_rate, waited, trials, peer or
    reset."""

    before: str
    after: str
    cause: str
    sums: Sums
    seconds: float = 0.0
    """How long it stays open."""


class Breaker:
    """One breaker. Times are Unix seconds, given by the caller, and need not rise strictly."""

    def __init__(self, config: BreakerConfig, now: float) -> None:
        self.config = config
        self.state = CLOSED
        self.since = now
        self.until = 0.0
        """When an open one goes half-open."""
        self.openings = 0
        """In a row, without a close in between."""
        self.used = now
        self._window: Window = self._fresh()
        self._exceeded = False

    def _fresh(self) -> Window:
        config = self.config
        return CountWindow(config.size) if config.window == "count" else TimeWindow(config.size)

    @property
    def sums(self) -> Sums:
        """What the window holds."""
        return self._window.sums

    def record(
        self, failed: bool, slow: bool, began: float, now: float, trial: bool = False
    ) -> Change | None:
        """Count the result of a call. trial: it had a permit of this half-open state."""
        self.used = now
        if self.state == OPEN or trial != (self.state == HALF_OPEN) or (not trial and began < self.since):
            return None
        self._window.add(failed, slow, now)
        return self._judge(now)

    def tick(self, now: float) -> Change | None:
        """What follows from the passing of time."""
        if self.state == OPEN and now >= self.until:
            sums = self.sums
            self._enter(HALF_OPEN, now)
            return Change(OPEN, HALF_OPEN, "waited", sums)
        return None

    def reset(self, now: float) -> Change | None:
        """Forget everything."""
        before, sums = self.state, self.sums
        self.openings = 0
        self._enter(CLOSED, now)
        return None if before == CLOSED else Change(before, CLOSED, "reset", sums)

    def follow(self, state: str, since: float, until: float, openings: int, now: float) -> Change | None:
        """Take over an opening or a closing that another node came to later than this one to its own state."""
        if (
            state == self.state
            or state == HALF_OPEN
            or since <= self.since
            or (state == OPEN and until <= now)
        ):
            return None
        before, sums = self.state, self.sums
        self.openings = openings
        self._enter(state, now)
        self.since = since
        self.until = until if state == OPEN else 0.0
        return Change(before, state, "peer", sums, max(0.0, until - now))

    def keep(self) -> list[Any]:
        """What `resume` of another process takes up."""
        return [
            self.state, self.since, self.until, self.openings, self.used, self._exceeded, self._window.keep(),
        ]  # fmt: skip

    def resume(self, kept: Sequence[Any]) -> None:
        """Go on where another process stood. Raises ValueError or TypeError for what `keep` did not write."""
        state, since, until, openings, used, exceeded, window = kept
        if state not in (CLOSED, OPEN, HALF_OPEN):
            raise ValueError(f"state: {state!r} is not known")
        self._enter(state, float(since))
        self.until, self.openings, self.used = float(until), int(openings), float(used)
        self._exceeded = bool(exceeded)
        self._window.resume(window)

    def _judge(self, now: float) -> Change | None:
        config, sums, state = self.config, self.sums, self.state
        if state == HALF_OPEN:
            needed = min(config.minimum_calls, config.permits)
        else:
            needed = (
                min(config.minimum_calls, config.size) if config.window == "count" else config.minimum_calls
            )
        if sums.calls < needed:
            self._exceeded = False
            return None
        cause = ""
        if sums.failure_rate >= config.failure_rate:
            cause = "failure_rate"
        elif sums.slow_rate >= config.slow_rate:
            cause = "slow_rate"
        if state == HALF_OPEN and not cause:
            self.openings = 0
            self._enter(CLOSED, now)
            return Change(HALF_OPEN, CLOSED, "trials", sums)
        if not cause:
            self._exceeded = False
            return None
        if config.mode == "metrics_only":
            # told once, at the moment when it would have opened
            told, self._exceeded = self._exceeded, True
            return None if told else Change(CLOSED, CLOSED, cause, sums)
        self.openings += 1
        seconds = config.open_for(self.openings)
        self._enter(OPEN, now)
        self.until = now + seconds
        return Change(state, OPEN, cause, sums, seconds)

    def _enter(self, state: str, now: float) -> None:
        self.state, self.since, self.until = state, now, 0.0
        self._exceeded = False
        if state == HALF_OPEN:
            self._window = CountWindow(self.config.permits)
        elif state == CLOSED:
            self._window = self._fresh()
