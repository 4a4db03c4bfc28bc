"""Networks in an image: which entries cover an address (`NetworkTable`), or whether any does (`NetworkSet`).

The address space is cut where any network begins or ends. A table of the cuts gives, for an address, the
narrowest network there; each entry names the next wider one that holds it (its parent). So a look-up is one
search, and the entries that cover the address follow from the narrowest to the widest.

Sections under a name N: N.4 (u32) and N.6h (with its `crowds.py`), N.6l (u64: upper and lower half, N.6g: where
the rows of each upper half begin) are the cuts, N.4t and N.6t (i32) the narrowest entry from there on, -1 for none.
Per entry: N.term (u32), N.parent (i32), N.bits (u8).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_pton

from kong_plugins.state.addresses import address_halves, from_bytes, halves
from kong_plugins.state.crowds import Crowds, build_crowds
from kong_plugins.state.tables import (
    I32,
    U8,
    U32,
    U64,
    FormatError,
    Sections,
    Table,
    build_table,
    column,
    same_length,
)

_LOW = (1 << 64) - 1
_TERM_BITS = 22
MAX_TERMS = 1 << _TERM_BITS
"""With an IPv4 network they make a number of 60 bits: two digits of a Python int, the fastest to sort."""


class _Cuts:
    """The cuts of both address families: the rank of an address among them."""

    __slots__ = ("_crowds", "_groups", "_lows", "_search4", "_search6", "fours", "sixes")

    def __init__(self, sections: Sections, name: str) -> None:
        four, highs = Table(sections, f"{name}.4", U32), Table(sections, f"{name}.6h", U64)
        self._search4, self._search6 = four.search, highs.search
        self._crowds = Crowds(sections, f"{name}.6h", len(highs))
        self._lows = column(sections, f"{name}.6l", U64)
        self._groups = column(sections, f"{name}.6g", U32)
        self.fours, self.sixes = len(four), len(self._lows)
        groups = self._groups
        if len(groups) != len(highs) + 1 or groups[0] != 0 or groups[-1] != self.sixes:
            raise FormatError(f"section {name}.6g does not fit its table")

    def rank(self, version: int, high: int, low: int) -> int:
        """How many cuts are not larger than the address (see `address_halves`)."""
        # `Table.rank` written out: each call more is a tenth of a look-up
        values, directory, base, shift, buckets = self._search4 if version == 4 else self._search6
        number = low if version == 4 else high
        bucket = number - base >> shift
        if bucket < 0:
            return 0
        if bucket < buckets:
            place = bisect_right(values, number, directory[bucket], directory[bucket + 1])
        else:
            place = len(values)
        if version == 4:
            return place
        groups = self._groups
        if place and values[place - 1] == high:
            return bisect_right(self._lows, low, groups[place - 1], groups[place])
        return groups[place]

    def finder(self, tops4: Sequence[int], tops6: Sequence[int]) -> Callable[[str], int]:
        """What stands in `tops` for an address: `address_halves` and `rank` in one function over local names, which
        takes two thirds of the time. -1 before the first cut."""
        values4, directory4, base4, shift4, buckets4 = self._search4
        values6, directory6, base6, shift6, buckets6 = self._search6
        begins, places, cut, fine, mask = self._crowds.search()
        lows, groups, rank = self._lows, self._groups, self.rank
        inet, inet6, count4, count6 = int(AF_INET), int(AF_INET6), len(values4), len(values6)

        def find(text: str) -> int:
            try:
                if ":" not in text:
                    number = from_bytes(inet_pton(inet, text), "big")
                    bucket = number - base4 >> shift4
                    if bucket < 0:
                        return -1
                    if bucket < buckets4:
                        place = bisect_right(values4, number, directory4[bucket], directory4[bucket + 1])
                    else:
                        place = count4
                    return tops4[place - 1] if place else -1
                high, low = halves(inet_pton(inet6, text))
            except OSError:
                high = 0
            if not high:  # IPv4 in IPv6, or a zone: the long way
                version, high, low = address_halves(text)
                place = rank(version, high, low)
                return (tops4 if version == 4 else tops6)[place - 1] if place else -1
            begin = begins(high >> cut)
            if begin is not None:
                begin += high >> fine & mask
                place = bisect_right(values6, high, places[begin], places[begin + 1])
            else:
                bucket = high - base6 >> shift6
                if bucket < 0:
                    return -1
                if bucket < buckets6:
                    place = bisect_right(values6, high, directory6[bucket], directory6[bucket + 1])
                else:
                    place = count6
            if place and values6[place - 1] == high:
                place = bisect_right(lows, low, groups[place - 1], groups[place])
            else:
                place = groups[place]
            return tops6[place - 1] if place else -1

        return find


class NetworkTable:
    """Entries by network. `terms`, `parents` and `bits` are columns over the entries; `find` gives the entry of the
    narrowest network that holds an address in any spelling, -1 for none, and raises ValueError."""

    __slots__ = ("bits", "find", "parents", "rank", "terms", "tops4", "tops6")

    def __init__(self, sections: Sections, name: str) -> None:
        """Raises FormatError."""
        cuts = _Cuts(sections, name)
        self.rank = cuts.rank
        self.tops4 = column(sections, f"{name}.4t", I32)
        self.tops6 = column(sections, f"{name}.6t", I32)
        self.terms = column(sections, f"{name}.term", U32)
        self.parents = column(sections, f"{name}.parent", I32)
        self.bits = column(sections, f"{name}.bits", U8)
        same_length(self.terms, self.parents, self.bits)
        if (cuts.fours, cuts.sixes) != (len(self.tops4), len(self.tops6)):
            raise FormatError(f"sections {name}.4t and {name}.6t do not fit their tables")
        self.find = cuts.finder(self.tops4, self.tops6)

    def narrowest(self, version: int, high: int, low: int) -> int:
        """The entry of the narrowest network that holds the address (see `address_halves`), -1 for none."""
        place = self.rank(version, high, low)
        if not place:
            return -1
        return (self.tops4 if version == 4 else self.tops6)[place - 1]

    def __len__(self) -> int:
        return len(self.terms)


class NetworkSet:
    """Membership alone: the cuts are the beginnings and ends of ranges that do not touch, in turn."""

    __slots__ = ("_cuts",)

    def __init__(self, sections: Sections, name: str) -> None:
        """Raises FormatError."""
        self._cuts = _Cuts(sections, name)

    def holds(self, version: int, high: int, low: int) -> bool:
        """Whether a network of the set holds the address (see `address_halves`)."""
        return self._cuts.rank(version, high, low) & 1 == 1


def _cut_sections(name: str, fours: Sequence[int], sixes: Sequence[int]) -> dict[str, bytes]:
    highs, lows, groups = array(U64), array(U64), array(U32)
    last = -1
    for row, number in enumerate(sixes):
        high = number >> 64
        if high != last:
            highs.append(high)
            groups.append(row)
            last = high
        lows.append(number & _LOW)
    groups.append(len(lows))
    return {
        **build_table(f"{name}.4", U32, fours),
        **build_table(f"{name}.6h", U64, highs),
        **build_crowds(f"{name}.6h", highs),
        f"{name}.6l": lows.tobytes(),
        f"{name}.6g": groups.tobytes(),
    }


class NetworkTableBuilder:
    """Collects entries, in any order, and makes the sections of a `NetworkTable`.

    Of two entries of one network, the one with the larger term comes first in a look-up.
    """

    SHIFT4 = _TERM_BITS

    def __init__(self) -> None:
        # a network as one number: address, prefix length, term; so they sort by themselves, wide ones first
        self.fours: list[int] = []
        self.sixes: list[int] = []

    def add(self, version: int, number: int, bits: int, term: int) -> None:
        """One entry: the network's address as a number, its prefix length, its row of terms."""
        if version == 4:
            self.fours.append((number << 6 | bits) << _TERM_BITS | term)
        else:
            self.sixes.append((number << 8 | bits) << _TERM_BITS | term)

    def sections(self, name: str) -> dict[str, bytes]:
        """The sections."""
        terms, parents, bits = array(U32), array(I32), array(U8)
        cuts4, tops4 = _sweep(self.fours, 32, 6, terms, parents, bits)
        cuts6, tops6 = _sweep(self.sixes, 128, 8, terms, parents, bits)
        return {
            **_cut_sections(name, cuts4, cuts6),
            f"{name}.4t": tops4.tobytes(),
            f"{name}.6t": tops6.tobytes(),
            f"{name}.term": terms.tobytes(),
            f"{name}.parent": parents.tobytes(),
            f"{name}.bits": bits.tobytes(),
        }


def _sweep(
    packed: list[int],
    width: int,
    bit_size: int,
    terms: array[int],
    parents: array[int],
    bits: array[int],
) -> tuple[list[int], array[int]]:
    """Walk the networks by address, wide ones first; appends the entries, returns cuts and their entries."""
    packed.sort()
    cuts: list[int] = []
    tops = array(I32)
    add_cut, add_top = cuts.append, tops.append
    add_term, add_parent, add_bits = terms.append, parents.append, bits.append
    last = -1
    # the networks that are open around the innermost one, widest first: where each ends (exclusive), its entry
    around: list[tuple[int, int]] = []
    never = 1 << width
    end, inner = never, -1  # the innermost one; -1: none is open
    term_mask, bit_mask = MAX_TERMS - 1, (1 << bit_size) - 1
    address_shift = _TERM_BITS + bit_size
    entry = len(terms)
    for row in packed:
        start = row >> address_shift
        while start >= end:
            # the innermost one ends: from there on the one around it is the narrowest
            over = end
            end, inner = around.pop()
            if over == last:
                tops[-1] = inner
            else:
                add_cut(over)
                add_top(inner)
                last = over
        length = row >> _TERM_BITS & bit_mask
        add_term(row & term_mask)
        add_parent(inner)
        add_bits(length)
        around.append((end, inner))
        end, inner = start + (1 << (width - length)), entry
        if start == last:
            tops[-1] = entry
        else:
            add_cut(start)
            add_top(entry)
            last = start
        entry += 1
    while around:
        over = end
        end, inner = around.pop()
        if over == last:
            tops[-1] = inner
        elif over < never:
            add_cut(over)
            add_top(inner)
            last = over
    return cuts, tops


def build_network_set(name: str, networks: Iterable[tuple[int, int, int]]) -> dict[str, bytes]:
    """The sections of a `NetworkSet` of (IP version, address as a number, prefix length)."""
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for version, number, bits in networks:
        width = 32 if version == 4 else 128
        ranges[version].append((number, number + (1 << (width - bits))))
    return _cut_sections(name, _merged(ranges[4], 32), _merged(ranges[6], 128))


def _merged(ranges: list[tuple[int, int]], width: int) -> list[int]:
    cuts: list[int] = []
    for start, end in sorted(ranges):
        if cuts and start <= cuts[-1]:
            cuts[-1] = max(cuts[-1], end)
        else:
            cuts += (start, end)
    if cuts and cuts[-1] == 1 << width:
        cuts.pop()  # the last range never ends
    return cuts
