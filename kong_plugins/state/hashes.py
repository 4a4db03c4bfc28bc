"""Texts in an image, by a keyed 64-bit hash: users, token ids, members of lists.

The key is drawn anew for each image, so nobody can choose texts that collide; by chance one look-up in
1,000,000 rows is wrong once in 18 million million.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from hashlib import blake2b

from kong_plugins.state.tables import U32, U64, Sections, Table, build_table, column, same_length

Hasher = Callable[[str], int]


def hasher(key: bytes) -> Hasher:
    """The hash of an image: 64 bits of a text."""

    def hashed(text: str) -> int:
        # a subject in a token may hold half a surrogate pair: it has a hash like any other text
        encoded = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(encoded, digest_size=8, key=key).digest(), "little")

    return hashed


class HashTable:
    """Rows by the hash of a text. `terms` is a column over the rows."""

    __slots__ = ("_table", "terms")

    def __init__(self, sections: Sections, name: str) -> None:
        """Raises FormatError."""
        self._table = Table(sections, name, U64)
        self.terms = column(sections, f"{name}.term", U32)
        same_length(self._table.values, self.terms)

    def rows(self, hashed: int) -> range:
        """The rows of a text, the largest term first."""
        table = self._table
        start = table.first(hashed)
        end = start
        values, count = table.values, len(table)
        while end < count and values[end] == hashed:
            end += 1
        return range(end - 1, start - 1, -1)

    def __len__(self) -> int:
        return len(self._table)


class HashSet:
    """Membership alone."""

    __slots__ = ("_table",)

    def __init__(self, sections: Sections, name: str) -> None:
        """Raises FormatError."""
        self._table = Table(sections, name, U64)

    def holds(self, hashed: int) -> bool:
        """Whether a text with this hash is in the set."""
        place = self._table.first(hashed)
        return place < len(self._table) and self._table.values[place] == hashed

    def __len__(self) -> int:
        return len(self._table)


def build_hash_table(name: str, rows: Iterable[tuple[int, int]]) -> dict[str, bytes]:
    """The sections of a `HashTable` of (hash, term)."""
    ordered = sorted(rows)
    return {
        **build_table(name, U64, [hashed for hashed, _ in ordered]),
        f"{name}.term": array(U32, [term for _, term in ordered]).tobytes(),
    }


def build_hash_set(name: str, hashes: Iterable[int]) -> dict[str, bytes]:
    """The sections of a `HashSet`."""
    return build_table(name, U64, sorted(set(hashes)))
