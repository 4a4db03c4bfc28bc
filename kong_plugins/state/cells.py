"""Limits, counters, permits and registers, exact over all processes of a node.

Every operation takes its lock for about a microsecond. When a lock cannot be had (its holder was stopped), the
process decides alone, from what it can read and what it has itself let through meanwhile, and adds that to the
shared memory later: like a node without its peers, it may admit up to one burst too much. `missed` counts that.
Permits and registers are refused instead.

    gcra, gcra_all   rate limits (see `gcra.py`)
    add, read        counters of a fixed window that starts with the first event
    take, settle     permits with a lease: one that nobody settles is free again when its lease ends
    swap, get        registers: compare-and-set of a number
    reset            forget a name; reset_all: all limits
    refusals         which keys were refused lately
    flush            write down what was decided alone

Times are nanoseconds; `now` should be `Cells.now()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from kong_plugins.state.cell_memory import BUCKET_WORDS, DEFAULT_SLOTS, SLOTS, CellMemory
from kong_plugins.state.cell_table import (
    COUNTER,
    DIGEST,
    IDS,
    KIND_BITS,
    KIND_MASK,
    LIMIT,
    MASK,
    META,
    PERMIT,
    REGISTER,
    UNSENT,
    UNTIL,
    VALUE,
    Table,
)
from kong_plugins.state.gcra import decide


class Charge(NamedTuple):
    """One limit that a request has to keep: times in nanoseconds, see `gcra.decide`."""

    key: str
    emission: int
    burst: int
    cost: int = 1


class Permit(NamedTuple):
    """One permit of `take`. Both numbers come back with `settle`, from whatever process."""

    number: int
    lease_end: int


Charged = tuple[str, int, int, int]
"""A `Charge`, or a plain tuple of the same: making one costs a third."""


@lru_cache(maxsize=4096)
def _limit_id(key: str) -> tuple[int, int]:
    """`Table.identify` of a limit. Remembered: a route's key, and those of who comes again."""
    low, high = DIGEST(blake2b(key.encode(), digest_size=16).digest())
    return low ^ LIMIT, high


_Place = tuple[int, int, int, int, int, int, int]
"""Stripe, bucket, id low and high, emission, burst, cost."""


class Cells(Table):
    """The shared table, as one process sees it. Safe for threads."""

    @staticmethod
    def create(slots: int = DEFAULT_SLOTS, locks: str = "") -> int:
        """A new table; returns a descriptor that processes inherit or get sent. See `CellMemory.create`."""
        return CellMemory.create(slots, locks=locks)

    @classmethod
    def attach(cls, fd: int) -> Cells:
        """The table behind a descriptor. Raises ValueError when it is none."""
        return cls(CellMemory(fd))

    has_own_clock = False

    def use_own_clock(self) -> None:
        """Make `at` say `now()`: in the processes of a node, whose other nodes and past are counted by it."""
        self.has_own_clock = True

    def at(self, now: float) -> int:
        """The time of limits at a decision made at `now` (Unix seconds); without `use_own_clock` that one."""
        return self.now() if self.has_own_clock else int(now * 1e9)

    # limits

    def gcra(self, key: str, emission: int, burst: int, now: int, cost: int = 1) -> tuple[bool, int]:
        """Admit a request? Returns (admitted, TAT): for `gcra.remaining` and `gcra.retry_after`."""
        low, high = _limit_id(key)
        bucket = (low * self.secret & MASK) >> self.shift
        stripe = bucket & self.stripe_mask
        words = self.words
        if not self.acquire(stripe):
            return self._gcra_alone(low, high, emission, burst, now, cost)
        try:
            base = self.first + bucket * BUCKET_WORDS
            slot = self.find(base, low, high)
            stored = words[slot + UNTIL] if slot >= 0 else 0
            if self.alone:
                stored, slot = self.catch_up(base, bucket, slot, low, high, stored, now)
            admitted, tat = decide(stored, now, emission, burst, cost)
            if admitted:
                if slot < 0:
                    slot = self.claim(base, low, high, LIMIT, now)
                words[slot + UNSENT] += cost * emission
                words[slot + UNTIL] = tat
                self.dirty[bucket] = 1
            elif tat < stored:
                words[slot + UNTIL] = tat  # a clock went back
        finally:
            self.release(stripe)
        if not admitted:
            self.refusals.note(key, emission, burst, now)
        return admitted, tat

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
            for (key, emission, burst, cost), tat in zip(charges, found[1], strict=True):
                if not decide(tat, now, emission, burst, cost)[0]:
                    self.refusals.note(key, emission, burst, now)
        return found

    def _gcra_both(self, charges: Sequence[Charged], now: int) -> tuple[bool, list[int]]:
        """`_gcra_many` of two, written out: it takes two thirds of the time, and two limits are the usual case."""
        (key, emission, burst, cost), (key2, emission2, burst2, cost2) = charges
        low, high = _limit_id(key)
        low2, high2 = _limit_id(key2)
        secret, shift, mask = self.secret, self.shift, self.stripe_mask
        bucket, bucket2 = (low * secret & MASK) >> shift, (low2 * secret & MASK) >> shift
        one, two = bucket & mask, bucket2 & mask
        if one == two:  # perhaps one bucket: making room for the first may take the second's slot
            return self._gcra_many(charges, now)
        if one > two:
            one, two = two, one
        acquire, release = self.acquire, self.release
        if not acquire(one):
            return self._gcra_many(charges, now)
        if not acquire(two):
            release(one)
            return self._gcra_many(charges, now)
        try:
            words, find = self.words, self.find
            base, base2 = self.first + bucket * BUCKET_WORDS, self.first + bucket2 * BUCKET_WORDS
            slot, slot2 = find(base, low, high), find(base2, low2, high2)
            stored = words[slot + UNTIL] if slot >= 0 else 0
            stored2 = words[slot2 + UNTIL] if slot2 >= 0 else 0
            admits, tat = decide(stored, now, emission, burst, cost)
            admits2, tat2 = decide(stored2, now, emission2, burst2, cost2)
            if not (admits and admits2):
                if not admits and tat < stored:
                    words[slot + UNTIL] = tat  # a clock went back
                if not admits2 and tat2 < stored2:
                    words[slot2 + UNTIL] = tat2
                return False, [stored if stored > now else now, stored2 if stored2 > now else now]
            if slot < 0:
                slot = self.claim(base, low, high, LIMIT, now)
            words[slot + UNSENT] += cost * emission
            words[slot + UNTIL] = tat
            self.dirty[bucket] = 1
            if slot2 < 0:
                slot2 = self.claim(base2, low2, high2, LIMIT, now)
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
            low, high = _limit_id(key)
            bucket = (low * self.secret & MASK) >> self.shift
            places.append((bucket & self.stripe_mask, bucket, low, high, emission, burst, cost))
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

    # counters

    def add(self, key: str, n: int, window: int, now: int) -> int:
        """Count n >= 0 events; returns the sum in the window, which starts with its first event."""
        low, high = self.identify(key, COUNTER)
        return self.count(low, high, n, window, now, n)

    def read(self, key: str, now: int) -> int:
        """The sum in the counter's window. Takes no lock."""
        return self.value_of(*self.identify(key, COUNTER), now)

    # permits

    def take(self, key: str, permits: int, lease: int, now: int) -> Permit | None:
        """One of so many permits, for at most `lease` nanoseconds; None when all are out."""
        for index in range(permits):
            low, high = self.identify(f"{key}#{index}", PERMIT)
            if self.value_of(low, high, now):
                continue
            end = now + lease
            if self.compare_and_set(low, high, PERMIT, 0, end, end, now)[0]:
                return Permit(index, end)
        return None

    def settle(self, key: str, permit: Permit, now: int, until: int = 0) -> bool:
        """Give a permit back, or keep it used until a time. False when its lease has ended before."""
        low, high = self.identify(f"{key}#{permit.number}", PERMIT)
        value = permit.lease_end if until > now else 0
        return self.compare_and_set(low, high, PERMIT, permit.lease_end, value, until, now)[0]

    # registers

    def swap(self, key: str, expected: int, value: int, until: int, now: int) -> tuple[bool, int]:
        """Set a register if it is as expected (0: nothing there, or ended); it ends at `until`.

        Returns (set, what it is now). One of several processes that try the same is told True. A lock that
        cannot be had counts as not set.
        """
        low, high = self.identify(key, REGISTER)
        return self.compare_and_set(low, high, REGISTER, expected, value, until, now)

    def get(self, key: str, now: int) -> int:
        """What a register holds, 0 for nothing. Takes no lock."""
        return self.value_of(*self.identify(key, REGISTER), now)

    # all kinds

    def reset(self, key: str) -> bool:
        """Forget the limit, counter and register of this name. False when a lock could not be had."""
        done = True
        for kind in (LIMIT, COUNTER, REGISTER):
            low, high = self.identify(key, kind)
            bucket = self.bucket_of(low)
            stripe = bucket & self.stripe_mask
            self.alone.pop((low, high), None)
            if not self.acquire(stripe):
                done = False
                continue
            try:
                slot = self.find(self.first + bucket * BUCKET_WORDS, low, high)
                if slot >= 0:
                    for field in (UNTIL, VALUE, UNSENT):
                        self.words[slot + field] = 0
            finally:
                self.release(stripe)
        return done

    def reset_all(self) -> bool:
        """Forget all limits. False when a lock could not be had."""
        done, words = True, self.words
        for low, high in [ids for ids, (_, meta) in self.alone.items() if meta & KIND_MASK == LIMIT]:
            self.alone.pop((low, high), None)
        for bucket in range(self.memory.buckets):
            base = self.first + bucket * BUCKET_WORDS
            if not any(IDS(self.map, base * 8)):
                continue
            stripe = bucket & self.stripe_mask
            if not self.acquire(stripe):
                done = False
                continue
            try:
                for slot in range(base, base + SLOTS):
                    if words[slot + META] & KIND_MASK == LIMIT:
                        words[slot + UNTIL] = words[slot + UNSENT] = 0
            finally:
                self.release(stripe)
        return done

    def flush(self, now: int) -> bool:
        """Write down what was decided alone. Call it now and then (1 s); True when nothing is left."""
        for (low, high), (_, meta) in list(self.alone.items()):
            if meta & KIND_MASK == COUNTER:
                self.count(low, high, 0, meta >> KIND_BITS, now, 0)
                continue
            bucket = self.bucket_of(low)
            stripe = bucket & self.stripe_mask
            if self.acquire(stripe):
                try:
                    base = self.first + bucket * BUCKET_WORDS
                    slot = self.find(base, low, high)
                    stored = self.words[slot + UNTIL] if slot >= 0 else 0
                    self.catch_up(base, bucket, slot, low, high, stored, now)
                finally:
                    self.release(stripe)
        return not self.alone

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
