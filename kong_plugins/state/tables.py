"""Sorted tables of unsigned numbers over shared bytes, read without a Python object per row.

A table is an array in rising order and a directory: for each value of the numbers' upper bits, where its
rows begin. The directory leaves few rows to a bisection: a look-up in 1,000,000 rows touches about 6 places
of memory in place of 20. Rows that crowd under one value of the upper bits cost a longer bisection, no more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence, Sized
from typing import Final, Literal

Sections = Mapping[str, memoryview]
"""The named parts of an image."""

U8: Final = "B"
U32: Final = "I"
I32: Final = "i"
U64: Final = "Q"
F64: Final = "d"
Whole = Literal["B", "I", "i", "Q"]
_HEAD = 16
"""Bytes before the directory: base and shift, both u64."""
_MAX_DIRECTORY_BITS = 18


class FormatError(ValueError):
    """A section does not hold what its name promises."""


def column(sections: Sections, name: str, kind: Whole) -> memoryview[int]:
    """A section as an array of whole numbers. Raises FormatError."""
    return _section(sections, name, 8 if kind == U64 else 1 if kind == U8 else 4).cast(kind)


def doubles(sections: Sections, name: str) -> memoryview[float]:
    """A section as an array of doubles. Raises FormatError."""
    return _section(sections, name, 8).cast(F64)


def _section(sections: Sections, name: str, size: int) -> memoryview[int]:
    found = sections.get(name)
    if found is None or len(found) % size:
        raise FormatError(f"section {name} is missing or cut off")
    return found


def same_length(*columns: Sized) -> None:
    """Raises FormatError unless all columns have as many rows as the first."""
    if len({len(one) for one in columns}) > 1:
        raise FormatError("columns of one table differ in length")


class Table:
    """Ranks numbers in a sorted array; `values` is the array itself, `search` what `rank` reads."""

    __slots__ = ("search", "values")

    def __init__(self, sections: Sections, name: str, kind: Literal["I", "Q"]) -> None:
        """Raises FormatError."""
        self.values = column(sections, name, kind)
        head = column(sections, f"{name}.dir", U8)
        if len(head) < _HEAD + 8 or len(head) % 4:
            raise FormatError(f"section {name}.dir is too short")
        base, shift = head[:_HEAD].cast(U64)
        directory = head[_HEAD:].cast(U32)
        buckets = len(directory) - 1
        if directory[0] != 0 or directory[buckets] != len(self.values):
            raise FormatError(f"section {name}.dir does not fit its table")
        # one attribute in place of five: a look-up is a dozen steps
        self.search = (self.values, directory, base, shift, buckets)

    def rank(self, number: int) -> int:
        """How many rows are not larger than the number."""
        values, directory, base, shift, buckets = self.search
        bucket = number - base >> shift
        if bucket < 0:
            return 0
        if bucket >= buckets:
            return len(values)
        return bisect_right(values, number, directory[bucket], directory[bucket + 1])

    def first(self, number: int) -> int:
        """Where the rows equal to the number begin, or would begin."""
        values, directory, base, shift, buckets = self.search
        bucket = number - base >> shift
        if bucket < 0:
            return 0
        if bucket >= buckets:
            return len(values)
        return bisect_left(values, number, directory[bucket], directory[bucket + 1])

    def __len__(self) -> int:
        return len(self.values)


def build_table(name: str, kind: Literal["I", "Q"], numbers: Sequence[int]) -> dict[str, bytes]:
    """The sections of a table. `numbers` are in rising order."""
    values = array(kind, numbers)
    count = len(values)
    base = values[0] if count else 0
    span = values[-1] - base if count else 0
    # 8 rows a bucket if they were spread: more buckets cost more time to build than they save
    bits = min(_MAX_DIRECTORY_BITS, max(0, count.bit_length() - 3))
    shift = max(0, span.bit_length() - bits)
    starts = array(U32, [0])
    place = 0
    for bucket in range(1, (span >> shift) + 1):
        # from one bucket's start to the next it is a few rows: gallop, then bisect
        limit = base + (bucket << shift)
        step = 4
        while place + step < count and values[place + step] < limit:
            step *= 2
        place = bisect_left(values, limit, place, min(place + step, count))
        starts.append(place)
    starts.append(count)
    return {
        name: values.tobytes(),
        f"{name}.dir": array(U64, [base, shift]).tobytes() + starts.tobytes(),
    }
