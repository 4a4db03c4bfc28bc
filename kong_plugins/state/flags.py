"""Named numbers that one process of a node sets and all read without a lock: breaker states, modes, levels.

A reader checks each entry by a sum over its fields, so it never takes a half-written one for true, on any kind of
processor; it then answers what it saw last. An entry holds until its end and then counts as not set.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b

from kong_plugins.state.cell_memory import FLAG_BYTES, FLAG_ENTRIES, CellMemory

_ENTRY = struct.Struct("<qqqqQ")
_DIGEST = struct.Struct("<qq").unpack
_MASK = (1 << 64) - 1
_PROBES = 32
_TRIES = 8


class Flags:
    """The flags in the shared memory. Values are signed 64-bit numbers; 0 is what a flag not set reads as."""

    def __init__(self, memory: CellMemory) -> None:
        self._memory = memory
        self._at, self._map = memory.flags_at, memory.map
        self._lock = memory.flag_lock
        self._last: dict[int, tuple[int, int, int, int]] = {}

    def get(self, key: str, now: int) -> int:
        """The value of a flag at the time `now` (nanoseconds), 0 when it is not set or has ended."""
        low, high = _id(key)
        for index in _places(low):
            entry = self._entry(index)
            if entry[0] == low and entry[1] == high:
                return entry[2] if entry[3] > now else 0
            if entry[0] == 0:
                return 0
        return 0

    def set(self, key: str, value: int, until: int, now: int) -> bool:
        """Set a flag until a time (nanoseconds); value 0 ends it. False when there was no room or no lock."""
        low, high = _id(key)
        locks = self._memory.locks
        if not locks.acquire(self._lock):
            return False
        try:
            free = -1
            for index in _places(low):
                entry = self._entry(index)
                if entry[0] == low and entry[1] == high:
                    free = index
                    break
                # an ended one may go; the search for the key goes on until a place that was never used
                if free < 0 and (entry[0] == 0 or entry[3] <= now):
                    free = index
                if entry[0] == 0:
                    break
            if free < 0:
                return False
            end = until if value else 0
            fields = (low, high, value, end)
            _ENTRY.pack_into(self._map, self._at + free * FLAG_BYTES, *fields, _check(*fields))
            return True
        finally:
            locks.release(self._lock)

    def _entry(self, index: int) -> tuple[int, int, int, int]:
        at = self._at + index * FLAG_BYTES
        for _ in range(_TRIES):
            low, high, value, until, check = _ENTRY.unpack_from(self._map, at)
            if check == _check(low, high, value, until):
                self._last[index] = (low, high, value, until)
                return low, high, value, until
        # being written, or its writer died within: what it was
        return self._last.get(index, (0, 0, 0, 0))


@lru_cache(maxsize=8192)
def _id(key: str) -> tuple[int, int]:
    low, high = _DIGEST(blake2b(key.encode(), digest_size=16).digest())
    return low or 1, high


def _places(low: int) -> range | list[int]:
    first = low % FLAG_ENTRIES
    if first + _PROBES <= FLAG_ENTRIES:
        return range(first, first + _PROBES)
    return [(first + step) % FLAG_ENTRIES for step in range(_PROBES)]


def _check(low: int, high: int, value: int, until: int) -> int:
    # 0 for the empty entry; else no field can change without it
    return (low * 3 ^ high * 5 ^ value * 7 ^ until * 11) & _MASK
