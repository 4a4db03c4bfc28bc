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

from typing import NamedTuple

from kong_plugins.state.cell_limits import Charge, Charged, LimitTable
from kong_plugins.state.cell_memory import BUCKET_WORDS, DEFAULT_SLOTS, SLOTS, CellMemory
from kong_plugins.state.cell_table import (
    COUNTER,
    IDS,
    KIND_BITS,
    KIND_MASK,
    LIMIT,
    META,
    PERMIT,
    REGISTER,
    UNSENT,
    UNTIL,
    VALUE,
)

__all__ = ["Cells", "Charge", "Charged", "Permit"]


class Permit(NamedTuple):
    """One permit of `take`. Both numbers come back with `settle`, from whatever process."""

    number: int
    lease_end: int


class Cells(LimitTable):
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
