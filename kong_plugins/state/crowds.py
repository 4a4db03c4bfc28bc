"""Where rows of crowded numbers begin: a directory for sorted numbers that stand close together in few places.

IPv6 networks are given out in blocks: a million of them lie under a few thousand prefixes, and a directory over the
whole span (`tables.py`) is empty but for a few places with hundreds of rows each. Here only the prefixes that occur
have places, all the same number of them.

Sections under a name N: N.crowds (u64: cut, fine, then the prefixes in rising order) and N.crowd (u32: where the rows
of each place begin, and at last the number of rows). A number's prefix is what is left of `cut` bits, its place
within the prefix the bits from `fine` to `cut`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence

from kong_plugins.state.tables import U32, U64, FormatError, Sections, column

MAX_PREFIXES = 4096
"""Every worker makes a dict of them when it takes an image."""
_MAX_BITS = 18
_FINEST = 32
"""A prefix has at most 32 of an address's 128 bits, which is what one provider gets."""


class Crowds:
    """What a look-up reads: `starts` (prefix -> its first place), `places`, `cut`, `fine` and the mask of a place.

    All empty for sections of before there were any: every number then goes the long way.
    """

    __slots__ = ("cut", "fine", "mask", "places", "starts")

    def __init__(self, sections: Sections, name: str, rows: int) -> None:
        """rows: how many numbers there are. Raises FormatError."""
        self.starts: dict[int, int] = {}
        self.cut = self.fine = self.mask = 0
        self.places = memoryview(array(U32))
        if not sections.keys() & {f"{name}.crowds", f"{name}.crowd"}:
            return
        head, self.places = column(sections, f"{name}.crowds", U64), column(sections, f"{name}.crowd", U32)
        if len(head) < 2 or not head[1] <= head[0] <= 64:
            raise FormatError(f"section {name}.crowds cannot be read")
        self.cut, self.fine = head[0], head[1]
        bits = self.cut - self.fine
        self.mask = (1 << bits) - 1
        if len(self.places) != (len(head) - 2 << bits) + 1 or self.places[-1] != rows:
            raise FormatError(f"section {name}.crowd does not fit its table")
        self.starts = dict(zip(head[2:], range(0, len(self.places), 1 << bits), strict=False))

    def search(self) -> tuple[Callable[[int], int | None], memoryview[int], int, int, int]:
        """Where a prefix begins, and `places`, `cut`, `fine` and `mask`."""
        return self.starts.get, self.places, self.cut, self.fine, self.mask


def build_crowds(name: str, numbers: Sequence[int]) -> dict[str, bytes]:
    """The sections of numbers of 64 bits in rising order."""
    cut = _FINEST
    prefixes = list(dict.fromkeys([number >> cut for number in numbers]))
    while len(prefixes) > MAX_PREFIXES:
        cut += 2
        prefixes = list(dict.fromkeys([prefix >> 2 for prefix in prefixes]))
    # some 8 rows a place: fewer make so many places that they are not at hand in the processor's cache
    bits = min(_MAX_BITS, (len(numbers) // (8 * max(1, len(prefixes)))).bit_length())
    fine, count = cut - bits, len(numbers)
    starts, at = array(U32), 0
    for prefix in prefixes:
        end = bisect_left(numbers, prefix + 1 << cut, at)
        for limit in range(prefix << cut, prefix + 1 << cut, 1 << fine):
            at = bisect_left(numbers, limit, at, end)
            starts.append(at)
        at = end
    starts.append(count)
    return {
        f"{name}.crowds": array(U64, [cut, fine, *prefixes]).tobytes(),
        f"{name}.crowd": starts.tobytes(),
    }
