"""The table of slots in the shared memory: finding a key, making room for one, and what is done without a lock.

When a bucket is full, the slot that ends first makes room: an ended one if there is one, else the limit that is
nearest to unused (`evicted` counts those), permits and registers last. So a flood of new keys pushes out other
new keys, not the ones that are over their limit.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final

from kong_plugins.state.cell_memory import BUCKET_WORDS, SLOTS, CellMemory
from kong_plugins.state.gcra import charge
from kong_plugins.state.refusals import Refusals

LOW, UNTIL, HIGH, VALUE, UNSENT, META = (SLOTS * field for field in range(6))
MASK = (1 << 64) - 1
IDS = struct.Struct(f"{SLOTS}q").unpack_from
DIGEST = struct.Struct("<qq").unpack
MOST = 1 << 62
KIND_BITS = 3
KIND_MASK = (1 << KIND_BITS) - 1
ALONE = 4096
"""Keys that a process keeps account of while it cannot have their locks."""


# what a slot is; each kind has keys of its own. Plain numbers: an enum would cost a microsecond a decision
LIMIT: Final = 1
COUNTER: Final = 2
PERMIT: Final = 3
REGISTER: Final = 4


class Table:
    """The slots, as one process sees them. `find`, `claim` and `catch_up` want the lock of the bucket's stripe."""

    def __init__(self, memory: CellMemory) -> None:
        self.memory = memory
        self.now = memory.now
        self.evicted = 0
        """Live slots that made room, by this process."""
        self.forgotten = 0
        """Decisions made alone that found no room to be written down."""
        self.words, self.map, self.dirty = memory.words, memory.map, memory.dirty
        self.acquire, self.release = memory.locks.acquire, memory.locks.release
        self.secret: int
        self.secret, self.shift, self.first = memory.secret, memory.shift, memory.first_word
        self.stripe_mask = memory.stripes - 1
        self.refusals = Refusals(memory.map, memory.refusals_at)
        self.cursor = 0
        """The bucket where the next look for news begins (one process looks)."""
        self.alone: dict[tuple[int, int], tuple[int, int]] = {}

    @property
    def missed(self) -> int:
        """Locks that this process could not have in time."""
        return self.memory.locks.missed

    @property
    def recovered(self) -> int:
        """Locks that this process took over from one that had died."""
        return self.memory.locks.recovered

    def close(self) -> None:
        """Let go of the memory; the descriptor is left open."""
        del self.words, self.map, self.refusals, self.dirty, self.acquire, self.release
        self.memory.close()

    def identify(self, key: str, kind: int) -> tuple[int, int]:
        low, high = DIGEST(blake2b(key.encode(), digest_size=16).digest())
        return low ^ kind, high

    def bucket_of(self, low: int) -> int:
        return (low * self.secret & MASK) >> self.shift

    def find(self, base: int, low: int, high: int) -> int:
        """The word of the slot with this id, -1 for none."""
        ids = IDS(self.map, base * 8)
        if low in ids:
            slot = base + ids.index(low)
            if self.words[slot + HIGH] == high:
                return slot
        return -1

    def value_of(self, low: int, high: int, now: int) -> int:
        slot = self.find(self.first + self.bucket_of(low) * BUCKET_WORDS, low, high)
        if slot < 0:
            return 0
        value = self.words[slot + VALUE] if self.words[slot + UNTIL] > now else 0
        # without a lock the slot may have become another's meanwhile
        return value if self.words[slot] == low else 0

    def claim(self, base: int, low: int, high: int, meta: int, now: int) -> int:
        """Make room in a bucket, under its lock."""
        words = self.words
        untils = IDS(self.map, (base + UNTIL) * 8)
        soonest = min(untils)
        index = untils.index(soonest)
        if soonest > now:
            pinned = (PERMIT, REGISTER)
            kinds = [meta & KIND_MASK for meta in IDS(self.map, (base + META) * 8)]
            index = min(range(SLOTS), key=lambda slot: (kinds[slot] in pinned, untils[slot]))
            self.evicted += 1
        slot = base + index
        # no id while the slot changes: whoever reads without a lock, or after we were killed, finds nothing
        words[slot] = 0
        words[slot + UNTIL] = 0
        words[slot + HIGH] = high
        words[slot + VALUE] = 0
        words[slot + UNSENT] = 0
        words[slot + META] = meta
        words[slot] = low
        return slot

    def compare_and_set(
        self, low: int, high: int, kind: int, expected: int, value: int, until: int, now: int
    ) -> tuple[bool, int]:
        bucket = self.bucket_of(low)
        stripe = bucket & self.stripe_mask
        if not self.acquire(stripe):
            return False, self.value_of(low, high, now)
        try:
            words = self.words
            base = self.first + bucket * BUCKET_WORDS
            slot = self.find(base, low, high)
            current = words[slot + VALUE] if slot >= 0 and words[slot + UNTIL] > now else 0
            if current != expected:
                return False, current
            if slot < 0:
                slot = self.claim(base, low, high, kind, now)
            # the end first: were we killed in between, the slot would be free
            words[slot + UNTIL] = 0
            words[slot + VALUE] = value
            words[slot + UNTIL] = until
            return True, value
        finally:
            self.release(stripe)

    def count(self, low: int, high: int, n: int, window: int, now: int, unsent: int) -> int:
        """Add n to a counter, of which `unsent` is news to other nodes; returns the sum."""
        bucket = self.bucket_of(low)
        stripe = bucket & self.stripe_mask
        base = self.first + bucket * BUCKET_WORDS
        words = self.words
        if not self.acquire(stripe):
            slot = self.find(base, low, high)
            count = words[slot + VALUE] if slot >= 0 and words[slot + UNTIL] > now else 0
            # what others used is not noted: it would go out again as ours
            return count + (self.note(low, high, n, window << KIND_BITS | COUNTER) if unsent else 0)
        try:
            slot = self.find(base, low, high)
            if self.alone:
                more = self.alone.pop((low, high), (0, 0))[0]
                n, unsent = n + more, unsent + more
            if slot < 0:
                slot = self.claim(base, low, high, window << KIND_BITS | COUNTER, now)
            until = words[slot + UNTIL]
            if until <= now:
                words[slot + VALUE] = 0
                words[slot + UNSENT] = 0
                words[slot + UNTIL] = now + window
            elif until > now + window:
                words[slot + UNTIL] = now + window  # a clock went back, or the window is now shorter
            count = min(words[slot + VALUE] + n, MOST)
            words[slot + VALUE] = count
            if unsent:
                words[slot + UNSENT] = min(words[slot + UNSENT] + unsent, MOST)
                self.dirty[bucket] = 1
            return count
        finally:
            self.release(stripe)

    # without the lock

    def note(self, low: int, high: int, amount: int, meta: int) -> int:
        """Remember what this process used on its own; returns the sum."""
        noted = self.alone.get((low, high), (0, 0))[0]
        if not noted and len(self.alone) >= ALONE:
            self.forgotten += 1
            return amount
        self.alone[low, high] = (noted + amount, meta)
        return noted + amount

    def stored_alone(self, low: int, high: int, now: int) -> int:
        """The TAT of a limit as far as this process can tell."""
        slot = self.find(self.first + self.bucket_of(low) * BUCKET_WORDS, low, high)
        stored = self.words[slot + UNTIL] if slot >= 0 else 0
        noted = self.alone.get((low, high), (0, 0))[0]
        return charge(stored, now, noted) if noted else stored

    def catch_up(
        self, base: int, bucket: int, slot: int, low: int, high: int, stored: int, now: int
    ) -> tuple[int, int]:
        """Write down what was noted alone, now that the lock is held; returns (TAT, slot)."""
        noted = self.alone.pop((low, high), (0, 0))[0]
        if not noted:
            return stored, slot
        tat = charge(stored, now, noted)
        if slot < 0:
            slot = self.claim(base, low, high, LIMIT, now)
        self.words[slot + UNTIL] = tat
        self.words[slot + UNSENT] += noted
        self.dirty[bucket] = 1
        return tat, slot
