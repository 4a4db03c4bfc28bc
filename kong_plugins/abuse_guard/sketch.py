"""Counting in a fixed amount of memory what attackers choose.

Distinct     linear counting (Whang, Vander-Zanden, Taylor 1990): how many different keys, to about 2%
CountMin     count-min sketch (Cormode, Muthukrishnan 2005): how often each key; never too low
"""

from __future__ import annotations

from array import array
from hashlib import blake2b
from math import log


def _number(key: str, seed: bytes) -> int:
    return int.from_bytes(
        blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=seed).digest(), "big"
    )


class Distinct:
    """How many different keys were added. bits: memory; good up to about as many keys."""

    def __init__(self, seed: bytes, bits: int = 1 << 17) -> None:
        self._seed, self._bits = seed, bits
        self._map = bytearray(bits // 8)
        self._set = 0

    def add(self, key: str) -> None:
        """Add a key."""
        place = _number(key, self._seed) % self._bits
        byte, bit = place >> 3, 1 << (place & 7)
        if not self._map[byte] & bit:
            self._map[byte] |= bit
            self._set += 1

    def count(self) -> float:
        """How many, about."""
        free = max(self._bits - self._set, 1)
        return self._bits * log(self._bits / free)


class CountMin:
    """How often each key was added, at least; more by at most about 2 x total / width, mostly."""

    ROWS = 4

    def __init__(self, seed: bytes, width: int = 1 << 13) -> None:
        self._seed, self._width = seed, width
        self._cells = array("L", bytes(array("L").itemsize * width * self.ROWS))
        self.total = 0

    def add(self, key: str) -> None:
        """Count a key once."""
        for place in self._places(key):
            self._cells[place] += 1
        self.total += 1

    def count(self, key: str) -> int:
        """How often it was counted."""
        return min(self._cells[place] for place in self._places(key))

    def _places(self, key: str) -> list[int]:
        number, width = _number(key, self._seed), self._width
        return [row * width + (number >> (16 * row)) % width for row in range(self.ROWS)]
