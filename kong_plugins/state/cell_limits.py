"""Rate limits in the shared table: one number a key, exact over all processes of a node (see `gcra.py`).

Every request comes here for each of its limits, so what would read better as functions of their own is written out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from kong_plugins.state.cell_memory import BUCKET_WORDS, CellMemory
from kong_plugins.state.cell_table import HIGH, LIMIT, UNSENT, UNTIL, Table
from kong_plugins.state.gcra import decide


class Charge(NamedTuple):
    """One limit that a request has to keep: times in nanoseconds, see `gcra.decide`."""

    key: str
    emission: int
    burst: int
    cost: int = 1


Charged = tuple[str, int, int, int]
"""A `Charge`, or a plain tuple of the same: making one costs a third."""


_KNOWN = 8192
"""Keys of limits whose places a process remembers."""

_Place = tuple[int, int, int, int, int, int, int]
"""Stripe, bucket, id low and high, emission, burst, cost."""


class LimitTable(Table):
    """The limits of the shared table, as one process sees it. Safe for threads."""

    def __init__(self, memory: CellMemory) -> None:
        super().__init__(memory)
        # not a method of its own: a cache of the class would keep every table that ever was
        self._place = lru_cache(maxsize=_KNOWN)(self._first_place)

    def _first_place(self, key: str) -> list[int]:
        """Id low and high of a limit, its stripe and bucket, and the slot where it was seen last (it may be another's
        by now). Remembered: a route's key, and those of who comes again."""
        low, high = self.identify(key, LIMIT)
        bucket = self.bucket_of(low)
        return [low, high, bucket & self.stripe_mask, bucket, self.first + bucket * BUCKET_WORDS]

    def gcra(self, key: str, emission: int, burst: int, now: int, cost: int = 1) -> tuple[bool, int]:
        """Admit a request? Returns (admitted, TAT): for `gcra.remaining` and `gcra.retry_after`."""
        place = self._place(key)
        low, high, stripe, bucket, slot = place
        words = self.words
        if not self.acquire(stripe):
            return self._gcra_alone(low, high, emission, burst, now, cost)
        try:
            if words[slot] != low or words[slot + HIGH] != high:
                slot = self._found(place)
            stored = words[slot + UNTIL] if slot >= 0 else 0
            if self.alone:
                base = self.first + bucket * BUCKET_WORDS
                stored, slot = self.catch_up(base, bucket, slot, low, high, stored, now)
            # `gcra.decide`, written out for who is admitted
            tat = (stored if stored > now else now) + cost * emission
            admitted = tat - now <= burst
            if admitted:
                if slot < 0:
                    slot = self._claimed(place, now)
                words[slot + UNSENT] += cost * emission
                words[slot + UNTIL] = tat
                self.dirty[bucket] = 1
            else:
                tat = decide(stored, now, emission, burst, cost)[1]
                if tat < stored:
                    words[slot + UNTIL] = tat  # a clock went back
        finally:
            self.release(stripe)
        if not admitted:
            self.refusals.note(key, emission, burst, now)
        return admitted, tat

    def _found(self, place: list[int]) -> int:
        """The slot of a place, looked up and remembered; -1 for none. Under its lock."""
        low, high, _, bucket, _ = place
        slot = self.find(self.first + bucket * BUCKET_WORDS, low, high)
        if slot >= 0:
            place[4] = slot
        return slot

    def _claimed(self, place: list[int], now: int) -> int:
        """A new slot for a place, remembered. Under its lock."""
        low, high, _, bucket, _ = place
        slot = place[4] = self.claim(self.first + bucket * BUCKET_WORDS, low, high, LIMIT, now)
        return slot

    def gcra_all(self, charges: Sequence[Charged], now: int) -> tuple[bool, list[int]]:
        """Admit a request that has to keep several limits: all of them count it, or none.

        Returns (admitted, TATs in the order given); when refused, the TATs as they are. Each limit's key is
        given once.
        """
        if len(charges) == 2 and not self.alone:
            found = self._gcra_both(charges, now)
        else:
            found = self._gcra_many(charges, now)
        if not found[0]:
            self.note_refused(charges, found[1], now)
        return found

    def note_refused(self, charges: Sequence[Charged], tats: Sequence[int], now: int) -> bool:
        """Remember, for operators, which of these limits refuse; whether one does. tats: theirs."""
        refused = False
        for (key, emission, burst, cost), tat in zip(charges, tats, strict=True):
            if not decide(tat, now, emission, burst, cost)[0]:
                self.refusals.note(key, emission, burst, now)
                refused = True
        return refused

    def _gcra_both(self, charges: Sequence[Charged], now: int) -> tuple[bool, list[int]]:
        """`_gcra_many` of two, written out: it takes two thirds of the time, and two limits are the usual case."""
        (key, emission, burst, cost), (key2, emission2, burst2, cost2) = charges
        place, place2 = self._place(key), self._place(key2)
        low, high, stripe, bucket, slot = place
        low2, high2, stripe2, bucket2, slot2 = place2
        if stripe == stripe2:  # perhaps one bucket: making room for the first may take the second's slot
            return self._gcra_many(charges, now)
        one, two = (stripe, stripe2) if stripe < stripe2 else (stripe2, stripe)
        acquire, release = self.acquire, self.release
        if not acquire(one):
            return self._gcra_many(charges, now)
        if not acquire(two):
            release(one)
            return self._gcra_many(charges, now)
        try:
            words = self.words
            if words[slot] != low or words[slot + HIGH] != high:
                slot = self._found(place)
            if words[slot2] != low2 or words[slot2 + HIGH] != high2:
                slot2 = self._found(place2)
            stored = words[slot + UNTIL] if slot >= 0 else 0
            stored2 = words[slot2 + UNTIL] if slot2 >= 0 else 0
            # `gcra.decide`, written out for who is admitted
            tat = (stored if stored > now else now) + cost * emission
            tat2 = (stored2 if stored2 > now else now) + cost2 * emission2
            if tat - now > burst or tat2 - now > burst2:
                for held, charge, at in ((slot, charges[0], stored), (slot2, charges[1], stored2)):
                    admits, bounded = decide(at, now, *charge[1:])
                    if not admits and bounded < at:
                        words[held + UNTIL] = bounded  # a clock went back
                return False, [stored if stored > now else now, stored2 if stored2 > now else now]
            if slot < 0:
                slot = self._claimed(place, now)
            words[slot + UNSENT] += cost * emission
            words[slot + UNTIL] = tat
            self.dirty[bucket] = 1
            if slot2 < 0:
                slot2 = self._claimed(place2, now)
            words[slot2 + UNSENT] += cost2 * emission2
            words[slot2 + UNTIL] = tat2
            self.dirty[bucket2] = 1
            return True, [tat, tat2]
        finally:
            release(two)
            release(one)

    def _gcra_many(self, charges: Sequence[Charged], now: int) -> tuple[bool, list[int]]:
        places = []
        for key, emission, burst, cost in charges:
            low, high, stripe, bucket, _ = self._place(key)
            places.append((stripe, bucket, low, high, emission, burst, cost))
        # in rising order, so that two processes never wait for each other
        held = []
        try:
            for stripe in sorted({place[0] for place in places}):
                if not self.acquire(stripe):
                    return self._gcra_all_alone(places, now)
                held.append(stripe)
            words = self.words
            before, after, slots = [], [], []
            for _, bucket, low, high, emission, burst, cost in places:
                base = self.first + bucket * BUCKET_WORDS
                slot = self.find(base, low, high)
                stored = words[slot + UNTIL] if slot >= 0 else 0
                if self.alone:
                    stored, slot = self.catch_up(base, bucket, slot, low, high, stored, now)
                admitted, tat = decide(stored, now, emission, burst, cost)
                before.append(stored)
                if admitted:
                    slots.append(slot)
                    after.append(tat)
                elif tat < stored:
                    words[slot + UNTIL] = tat  # a clock went back
            if len(after) < len(before):
                return False, [max(stored, now) for stored in before]
            whole = all(slot >= 0 for slot in slots) and not self.alone
            for (_, bucket, low, high, emission, _, cost), tat, slot in zip(
                places, after, slots, strict=True
            ):
                if not whole:
                    # looked up again: making room for the one before may have taken this one's
                    base = self.first + bucket * BUCKET_WORDS
                    slot = self.find(base, low, high)
                    if slot < 0:
                        slot = self.claim(base, low, high, LIMIT, now)
                words[slot + UNSENT] += cost * emission
                words[slot + UNTIL] = tat
                self.dirty[bucket] = 1
            return True, after
        finally:
            for stripe in held:
                self.release(stripe)

    def tat(self, key: str, now: int) -> int:
        """The TAT of a limit without counting anything, `now` or later. Takes no lock."""
        low, high = self.identify(key, LIMIT)
        slot = self.find(self.first + self.bucket_of(low) * BUCKET_WORDS, low, high)
        return max(self.words[slot + UNTIL], now) if slot >= 0 else now

    # without the lock

    def _gcra_alone(
        self, low: int, high: int, emission: int, burst: int, now: int, cost: int
    ) -> tuple[bool, int]:
        stored = self.stored_alone(low, high, now)
        admitted, tat = decide(stored, now, emission, burst, cost)
        if admitted:
            self.note(low, high, cost * emission, LIMIT)
        return admitted, tat

    def _gcra_all_alone(self, places: list[_Place], now: int) -> tuple[bool, list[int]]:
        before, after = [], []
        for _, _, low, high, emission, burst, cost in places:
            stored = self.stored_alone(low, high, now)
            admitted, tat = decide(stored, now, emission, burst, cost)
            before.append(max(stored, now))
            if admitted:
                after.append(tat)
        if len(after) < len(before):
            return False, before
        for _, _, low, high, emission, _, cost in places:
            self.note(low, high, cost * emission, LIMIT)
        return True, after
