"""The leases that one process has given (engine/lease.py), and how it takes them back.

A connection of the adapter on which leases were given hears a beat many times a second, with the epoch of the leases
that hold. When anything changes that a lease stands on there is a new epoch, told at once: the leases before it are
over. Where no beat comes any more (the process hangs, or is gone) the adapter takes them for over by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import Condition, Lease
from kong_plugins.engine.verdict import Verdict

BEAT_SECONDS = 0.025
LATE_SECONDS = 0.1
"""A beat that is later than this says that this process stood still: what came meanwhile is not read yet."""
LONGEST_SECONDS = 10.0
SHORTEST_SECONDS = 0.1
AGAIN_SECONDS = 1.0
"""So long nobody looks again whether a verdict that had no lease has one."""

_EPOCHS = 1 << 32


class Holder(Protocol):
    """A connection on which leases were given."""

    def beat(self, data: bytes) -> bool:
        """Write; False where the connection has ended."""
        ...


class Given(NamedTuple):
    """milliseconds: 0 for no lease. until: when to look again (monotonic seconds)."""

    milliseconds: int
    epoch: int
    until: float


Find = Callable[[str, Facts, Verdict], Lease]
"""The lease of a verdict that was just found, by the hash of its chain."""


class Leases:
    """Gives leases and beats. find, still: see Decider.lease and Decider.still; stamp: anything that differs when
    keys do; later: calls a function after so many seconds, in this thread; clock: monotonic seconds."""

    def __init__(
        self,
        find: Find,
        still: Callable[[Condition], bool],
        stamp: Callable[[], object],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find, self._still, self._stamp = find, still, stamp
        self._later, self.clock = later, clock
        # a process that takes a connection over must not name the epoch of the one before
        self.epoch = int.from_bytes(os.urandom(4), "big")
        self._holders: dict[Holder, float] = {}
        self._conditions: dict[str, tuple[Condition, float]] = {}
        self._seen: object = None
        self._beaten = 0.0
        self._beating = False

    def give(self, holder: Holder, chain: str, facts: Facts, verdict: Verdict) -> Given:
        """The lease of a verdict that this holder is told now. Where there is one, a beat must go before it."""
        # before it is looked for: of keys that another thread takes away meanwhile the next beat must hear
        now, stamp = self.clock(), self._stamp()
        found = self._find(chain, facts, verdict)
        seconds = min(found.seconds, LONGEST_SECONDS)
        if seconds < SHORTEST_SECONDS:
            return Given(0, self.epoch, now + AGAIN_SECONDS)
        until = now + seconds
        if not self._beating:
            self._begin(now, stamp)
        elif self._has_changed(now, stamp):
            self.change()
        for condition in found.conditions:
            _, before = self._conditions.get(condition.name, (condition, until))
            self._conditions[condition.name] = condition, max(until, before)
        self._holders[holder] = max(until, self._holders.get(holder, until))
        return Given(int(seconds * 1000), self.epoch, until)

    def change(self) -> None:
        """Take all leases back: something changed that they may stand on."""
        self.epoch = (self.epoch + 1) % _EPOCHS
        self._conditions.clear()
        holders, self._holders = self._holders, {}
        told = beat_of(self.epoch)
        for holder in holders:
            holder.beat(told)

    def _begin(self, now: float, stamp: object) -> None:
        self._seen, self._beaten, self._beating = stamp, now, True
        self._later(BEAT_SECONDS, self._beat)

    def _has_changed(self, now: float, stamp: object) -> bool:
        if stamp == self._seen and now - self._beaten <= LATE_SECONDS:
            return False
        self._seen, self._beaten = stamp, now
        return True

    def _beat(self) -> None:
        now = self.clock()
        if self._has_changed(now, self._stamp()) or not self._conditions_hold(now):
            self.change()
        self._beaten = now
        told = beat_of(self.epoch)
        for holder, until in list(self._holders.items()):
            if now >= until or not holder.beat(told):
                del self._holders[holder]
        self._beating = bool(self._holders)
        if self._beating:
            self._later(BEAT_SECONDS, self._beat)

    def _conditions_hold(self, now: float) -> bool:
        for name, (condition, until) in list(self._conditions.items()):
            if now >= until:
                del self._conditions[name]
            elif not self._still(condition):
                return False
        return True


def beat_of(epoch: int) -> bytes:
    """The frame of a beat: `{b: epoch, q: 0}`, each number in five bytes (docs/protocol.md)."""
    body = b"\x82\xa1b\xce" + epoch.to_bytes(4, "big") + b"\xa1q\xce\0\0\0\0"
    return len(body).to_bytes(4, "big") + body
