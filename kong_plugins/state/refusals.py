"""Which limits refused something lately, by their readable key: a small table in the memory of the cells.

The counters know hashes alone; operators ask who is being limited. Every process notes what it refused, without a
lock: two that write one entry at once make it unreadable (its checksum is wrong), until the next refusal.
"""

from __future__ import annotations

import struct
from mmap import mmap
from typing import Final, NamedTuple
from zlib import crc32

ENTRIES: Final = 512
ENTRY_BYTES: Final = 256
_HEAD = struct.Struct("<IHxxqqqq")
MAX_KEY: Final = ENTRY_BYTES - _HEAD.size
_FRESH_NS = 60 * 10**9


class Refused(NamedTuple):
    """One key. times: refusals since it was noted first; at: the last one. emission, burst: see `gcra.py`. All times
    are nanoseconds."""

    key: str
    times: int
    at: int
    emission: int
    burst: int


class Refusals:
    """The table at an offset of the shared memory."""

    __slots__ = ("_map", "_start")

    def __init__(self, memory: mmap, start: int) -> None:
        self._map, self._start = memory, start

    def note(self, key: str, emission: int, burst: int, now: int) -> None:
        """A request was refused. A key that is too long for the table is left out."""
        text = key.encode("utf-8", "surrogatepass")
        if len(text) > MAX_KEY:
            return
        # two places for each key: the one that it has, else the one that was longest without a refusal
        first = crc32(text) % ENTRIES
        count, place, oldest = 1, -1, 0
        for number in (first, first ^ 1):
            at = self._start + number * ENTRY_BYTES
            checksum, length, times, last, _, _ = _HEAD.unpack_from(self._map, at)
            packed = self._map[at + 4 : at + _HEAD.size + length] if checksum and length <= MAX_KEY else b""
            if not packed or crc32(packed) != checksum:
                last = 0
            elif packed.endswith(text) and length == len(text):
                count, place = (times + 1 if now - last < _FRESH_NS else 1), at
                break
            if place < 0 or last < oldest:
                place, oldest = at, last
        packed = _HEAD.pack(0, len(text), count, now, emission, burst)[4:] + text
        self._map[place : place + 4 + len(packed)] = crc32(packed).to_bytes(4, "little") + packed

    def latest(self, now: int, most: int) -> list[Refused]:
        """What was refused in the last minute, the most often refused first."""
        found = [self._at(self._start + number * ENTRY_BYTES) for number in range(ENTRIES)]
        live = [entry for entry in found if entry is not None and now - entry.at < _FRESH_NS]
        return sorted(live, key=lambda entry: -entry.times)[:most]

    def forget(self, key: str | None = None) -> None:
        """Drop a key, or all."""
        for place in range(self._start, self._start + ENTRIES * ENTRY_BYTES, ENTRY_BYTES):
            if key is None or ((entry := self._at(place)) is not None and entry.key == key):
                self._map[place : place + 4] = bytes(4)

    def _at(self, place: int) -> Refused | None:
        checksum, length, count, at, emission, burst = _HEAD.unpack_from(self._map, place)
        if not checksum or length > MAX_KEY:
            return None
        end = place + _HEAD.size + length
        if crc32(self._map[place + 4 : end]) != checksum:
            return None
        text = self._map[place + _HEAD.size : end].decode("utf-8", "surrogatepass")
        return Refused(text, count, at, emission, burst)
