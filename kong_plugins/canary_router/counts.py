"""What is counted of a canary's two arms: one stratum at a time, and the strata of the last minute or so
together."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, log2
from typing import Any, NamedTuple

from kong_plugins.engine.outcome import Outcome

STEPS = 8
"""Latency buckets in each doubling: a percentile is right within 9 %."""
_MAX_BUCKET = 24 * STEPS
_LAST_STATUS = re.compile(r"([0-9]{3})\s*\Z", re.ASCII)


@lru_cache(maxsize=4096)
def bucket_of(milliseconds: float) -> int:
    """The latency's bucket."""
    return min(_MAX_BUCKET, ceil(STEPS * log2(milliseconds))) if milliseconds > 1 else 0


def milliseconds_of(bucket: int) -> float:
    """The upper bound of a bucket."""
    return float(2 ** (bucket / STEPS))


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The latency in milliseconds that `share` of the requests do not pass; None without requests."""
    wanted = share * sum(histogram.values())
    if not wanted:
        return None
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= wanted:
            return milliseconds_of(bucket)
    return None


class Seen(NamedTuple):
    """What one outcome says of the backend. milliseconds is None for a failure."""

    failed: bool
    milliseconds: float | None = None
    no_target: bool = False


def seen_of(outcome: Outcome) -> Seen | None:
    """None for what says nothing of the backend: answers of the gateway and of plugins, clients that went away.

    A failure is a last try of 5xx (nginx writes connection errors as 502 and 504), or Kong's own error. Kong
    answers for an upstream without a target that it may use by "exit" and 503, without a try.
    """
    _, _, _, status, upstream_status, tries, milliseconds, source, reason, _, _, _ = outcome
    return _seen(status, upstream_status, tries, milliseconds, source, reason)


@lru_cache(maxsize=4096)  # most outcomes are alike
def _seen(
    status: str, upstream_status: str, tries: str, milliseconds: str, source: str, reason: str
) -> Seen | None:
    last = _LAST_STATUS.search(upstream_status)
    if source == "kgate" or status == "499":
        return None
    if last is None:
        if source == "exit":
            missing = tries in ("", "0") and (status == "503" or reason == "no_target")
            return Seen(True, None, True) if missing else None
        return Seen(True) if source == "error" else None
    if last[1] >= "500":
        return Seen(True)
    try:
        return Seen(False, float(milliseconds))
    except ValueError:
        return Seen(False)


@dataclass(slots=True)
class Arm:
    """Requests, failures, answers with a latency, and those of them that were slow."""

    requests: int = 0
    failed: int = 0
    timed: int = 0
    slow: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, seen: Seen, slow_over: float | None) -> None:
        """Count a request; slow_over: milliseconds."""
        self.requests += 1
        self.failed += seen.failed
        if seen.milliseconds is not None:
            self.latencies[bucket_of(seen.milliseconds)] += 1
            if slow_over is not None:
                self.timed += 1
                self.slow += seen.milliseconds > slow_over

    def wire(self) -> list[Any]:
        """As msgpack or JSON carries it."""
        pairs = [number for pair in self.latencies.items() for number in pair]
        return [self.requests, self.failed, self.timed, self.slow, pairs]

    @classmethod
    def of(cls, wire: Any) -> Arm:
        """The arm of `wire`. Raises ValueError or TypeError for what is none."""
        requests, failed, timed, slow, pairs = wire
        numbers = [int(number) for number in (requests, failed, timed, slow, *pairs)]
        fits = requests >= failed and requests >= timed >= slow and len(pairs) % 2 == 0
        if min(numbers) < 0 or max(numbers) > 10**9 or len(pairs) > 2 * _MAX_BUCKET + 2 or not fits:
            raise ValueError("no counts of an arm")
        latencies: Counter[int] = Counter()
        for bucket, count in zip(numbers[4::2], numbers[5::2], strict=True):
            latencies[min(bucket, _MAX_BUCKET)] += count
        return cls(numbers[0], numbers[1], numbers[2], numbers[3], latencies)


@dataclass(slots=True)
class Stratum:
    """Both arms in a short time on one node. canary and control hold only requests that the percent was asked for;
    pinned is the rest of the canary's. began: Unix seconds of the first request."""

    began: float
    canary: Arm = field(default_factory=Arm)
    control: Arm = field(default_factory=Arm)
    pinned: Arm = field(default_factory=Arm)

    def wire(self) -> list[Any]:
        """As msgpack or JSON carries it."""
        return [self.canary.wire(), self.control.wire(), self.pinned.wire()]

    @classmethod
    def of(cls, wire: Any, now: float) -> Stratum:
        """The stratum of `wire`. Raises ValueError or TypeError for what is none."""
        canary, control, pinned = wire
        return cls(now, Arm.of(canary), Arm.of(control), Arm.of(pinned))


class Window:
    """The strata of the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._held: deque[tuple[float, Stratum]] = deque()
        self.total = Stratum(0.0)

    def add(self, stratum: Stratum, now: float) -> None:
        """Count a stratum."""
        self._held.append((now, stratum))
        for mine, its in self._arms(stratum):
            mine.requests += its.requests
            mine.failed += its.failed
            mine.latencies.update(its.latencies)
        self.drop(now)

    def drop(self, now: float) -> None:
        """Forget what is too old."""
        while self._held and self._held[0][0] <= now - self.seconds:
            _, stratum = self._held.popleft()
            for mine, its in self._arms(stratum):
                mine.requests -= its.requests
                mine.failed -= its.failed
                mine.latencies.subtract(its.latencies)
                for bucket in its.latencies:
                    if not mine.latencies[bucket]:
                        del mine.latencies[bucket]

    def keep(self) -> list[Any]:
        """What `resume` of another process takes up."""
        return [[when, stratum.wire()] for when, stratum in self._held]

    def resume(self, kept: Sequence[Any], now: float) -> None:
        """Take up what an empty one kept. Raises ValueError or TypeError for what it did not."""
        for when, wire in kept:
            self.add(Stratum.of(wire, float(when)), float(when))
        self.drop(now)

    def _arms(self, stratum: Stratum) -> tuple[tuple[Arm, Arm], ...]:
        total = self.total
        return (
            (total.canary, stratum.canary),
            (total.control, stratum.control),
            (total.pinned, stratum.pinned),
        )
