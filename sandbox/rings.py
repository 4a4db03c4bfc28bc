"""How an upstream's targets take turns: Kong's four algorithms.

A ring knows the targets of one upstream in one worker; whether a target is up is asked of the node's health.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple, Protocol

from sandbox.health import Address
from sandbox.xxhash32 import xxhash32

Up = Callable[[Address], bool]
_POINTS = 160  # of a target on the ring when all weigh the same
_MIN_SLOTS = 1000
_DECAY_SECONDS = 10.0


class Target(NamedTuple):
    """A target and its weight."""

    address: Address
    weight: int


@dataclass
class Choice:
    """One request's way through a ring: its hash, what it got last, what failed it."""

    hashed: str = ""
    slot: int | None = None
    address: Address | None = None
    failed: set[Address] = field(default_factory=set)


class Ring(Protocol):
    """Picks targets."""

    def pick(self, choice: Choice, up: Up) -> Address | None:
        """The next target for a request, or None when none is up."""

    def done(self, choice: Choice, seconds: float, now: float) -> None:
        """The request is over; seconds: from connecting to the response's head."""


class RoundRobin:
    """Each target has as many places on a wheel as its weight says, spread evenly; a retry takes the next place,
    which may be the same dead target again."""

    def __init__(self, targets: Sequence[Target]) -> None:
        divisor = reduce(math.gcd, (t.weight for t in targets), 0) or 1
        shares = [(t.address, t.weight // divisor) for t in targets if t.weight > 0]
        total = sum(share for _, share in shares)
        # Kong shuffles its wheel; here the order is even, so that runs can be compared
        places = [((2 * i + 1) / (2 * share), n) for n, (_, share) in enumerate(shares) for i in range(share)]
        self._wheel = [shares[n][0] for _, n in sorted(places)]
        self._at = total - 1

    def pick(self, choice: Choice, up: Up) -> Address | None:
        for _ in self._wheel:
            self._at = (self._at + 1) % len(self._wheel)
            if up(self._wheel[self._at]):
                return self._wheel[self._at]
        return None

    def done(self, choice: Choice, seconds: float, now: float) -> None:
        """Nothing to learn."""


class ConsistentHashing:
    """Targets have points on a ring of slots; a key goes to the nearest point below it.

    slots: of the ring; Kong uses its default for fewer than 1000.
    """

    def __init__(self, targets: Sequence[Target], slots: int) -> None:
        self._slots = slots if slots >= _MIN_SLOTS else _MIN_SLOTS
        self._ring: dict[int, Address] = {}
        total = sum(t.weight for t in targets)
        ordered = sorted(targets, key=lambda t: t.address)
        for target in ordered:
            if target.weight > 0:
                self._place(target, max(int(target.weight / total * len(ordered) * _POINTS), 1))

    def _place(self, target: Target, entries: int) -> None:
        host, port = target.address
        i = 1
        while i <= entries and i <= self._slots:
            slot = self._slot(f"{host}::{port} {i}")  # Kong writes the colon twice
            if slot in self._ring:
                entries += 1
            else:
                self._ring[slot] = target.address
            i += 1

    def _slot(self, text: str) -> int:
        return xxhash32(text.encode("latin-1")) % self._slots + 1

    def pick(self, choice: Choice, up: Up) -> Address | None:
        if choice.slot is None:
            choice.slot = self._slot(choice.hashed)
        for step in range(self._slots):
            address = self._ring.get((choice.slot - 1 - step) % self._slots + 1)
            if address is not None and up(address):
                return address
        return None

    def done(self, choice: Choice, seconds: float, now: float) -> None:
        """Nothing to learn."""


class LeastConnections:
    """The target with the fewest requests under way for its weight; a retry avoids what failed the request."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = [t for t in targets if t.weight > 0]
        self._running = {t.address: 0 for t in self._targets}

    def pick(self, choice: Choice, up: Up) -> Address | None:
        self._release(choice)
        able = [t for t in self._targets if up(t.address)]
        fresh = [t for t in able if t.address not in choice.failed]
        if not fresh:
            choice.failed.clear()
        best = min(
            fresh or able, key=lambda t: (self._running[t.address] + 1) / t.weight, default=Target(("", 0), 0)
        )
        if not best.weight:
            return None
        self._running[best.address] += 1
        return best.address

    def _release(self, choice: Choice) -> None:
        if choice.address is not None:
            self._running[choice.address] -= 1
            choice.address = None

    def done(self, choice: Choice, seconds: float, now: float) -> None:
        self._release(choice)


class Latency:
    """The target with the lowest moving average of answer times for its weight; it decays over ten seconds."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = [t for t in targets if t.weight > 0]
        self._average = {t.address: (0.0, 0.0) for t in self._targets}

    def pick(self, choice: Choice, up: Up) -> Address | None:
        able = [t for t in self._targets if up(t.address) and t.address not in choice.failed]
        found = min(able, key=lambda t: self._average[t.address][0] / t.weight, default=None)
        return found.address if found else None

    def done(self, choice: Choice, seconds: float, now: float) -> None:
        if choice.address is not None:
            average, touched = self._average[choice.address]
            weight = math.exp(-max(now - touched, 0) / _DECAY_SECONDS) if touched else 0.0
            self._average[choice.address] = (average * weight + seconds * (1 - weight), now)


def make_ring(algorithm: str, targets: Sequence[Target], slots: int) -> Ring:
    """The ring of an upstream's `algorithm`. Raises ValueError for one that Kong does not know."""
    if algorithm == "round-robin":
        return RoundRobin(targets)
    if algorithm == "consistent-hashing":
        return ConsistentHashing(targets, slots)
    if algorithm == "least-connections":
        return LeastConnections(targets)
    if algorithm == "latency":
        return Latency(targets)
    raise ValueError(f"algorithm: unknown: {algorithm!r}")
