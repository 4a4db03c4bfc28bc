"""A batch of outcomes as columns, and the rows of adapters of before.

Most outcomes of a moment differ in the time and the address alone. So a batch is columns (docs/protocol.md): kinds,
each once, and of each request the place of its kind, its milliseconds and its address.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import msgpack

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.frames import NOT_MESSAGEPACK, pack, unpacker

ROW_FIELDS = 13
"""Of a row of adapters of before: the request's id and an Outcome."""
_PLACE, _MILLISECONDS = "H", "I"
_LAST_PLACE = (1 << 16) - 1
_BEFORE_MILLISECONDS = Outcome._fields.index("milliseconds")
_KIND_FIELDS = len(Outcome._fields) - 2
LEASED = "lease="
"""The last word of the memo where the adapter did not ask for the verdict, with the verdict's reason."""
_new = tuple.__new__


class Kind(NamedTuple):
    """What metrics tell apart. first: the status' first digit; leased: the reason of a verdict that was not asked
    for, None where it was."""

    tenant: str
    route: str
    first: str
    source: str
    reason: str
    leased: str | None = None


class Batch(NamedTuple):
    """The columns. kinds: an Outcome's fields without milliseconds and address; malformed: rows of another shape,
    which were left out."""

    kinds: Sequence[Sequence[str]]
    places: array[int]
    milliseconds: array[int]
    addresses: Sequence[str]
    malformed: int = 0

    def samples(self) -> list[Outcome]:
        """Each kind as an outcome that took no time, of nobody."""
        cut = _BEFORE_MILLISECONDS
        return [_new(Outcome, (*kind[:cut], "0", *kind[cut:], "")) for kind in self.kinds]

    def placed(self, places: Container[int]) -> list[tuple[int, Outcome]]:
        """Those whose kind has one of these places, with it, in their order."""
        cut = _BEFORE_MILLISECONDS
        halves = [(tuple(kind[:cut]), tuple(kind[cut:])) for kind in self.kinds]
        found = []
        for place, milliseconds, address in zip(self.places, self.milliseconds, self.addresses, strict=True):
            if place in places:
                head, tail = halves[place]
                found.append((place, _new(Outcome, (*head, str(milliseconds), *tail, address))))
        return found

    def outcomes(self) -> list[Outcome]:
        """One by one."""
        return [outcome for _place, outcome in self.placed(range(len(self.kinds)))]

    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind."""
        counts: dict[Kind, int] = {}
        for place, count in Counter(self.places).items():
            kind = _kind_of(self.kinds[place])
            counts[kind] = counts.get(kind, 0) + count
        return counts

    def pack(self) -> bytes:
        """What `read_batch` reads."""
        columns = [_bytes_of(self.places), _bytes_of(self.milliseconds)]
        packed: bytes = pack([self.kinds, *columns, self.addresses, self.malformed])
        return packed


NOTHING = Batch((), array(_PLACE), array(_MILLISECONDS), ())


def _kind_of(kind: Sequence[str]) -> Kind:
    route, _service, tenant, status, _upstream, _tries, source, reason, _arm, memo = kind
    leased = None
    if LEASED in memo:
        word = memo.rpartition(" ")[2]
        leased = word[len(LEASED) :] if word.startswith(LEASED) else None
    return Kind(tenant, route, status[:1], source, reason, leased)


def _swapped(column: array[int]) -> array[int]:
    """Columns are little-endian."""
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _bytes_of(column: array[int]) -> bytes:
    return _swapped(array(column.typecode, column)).tobytes()


def _column(typecode: str, packed: bytes) -> array[int]:
    column = array(typecode)
    column.frombytes(packed)
    return _swapped(column)


def read_batch(packed: bytes) -> Batch:
    """Raises ValueError for what is no batch."""
    try:
        kinds, places, milliseconds, addresses, *more = msgpack.unpackb(
            packed, unicode_errors="surrogateescape", strict_map_key=False
        )
        "".join(addresses)  # the cheapest look at the type of each
        for kind in kinds:
            "".join(kind)
        if any(type(kind) is not list or len(kind) != _KIND_FIELDS for kind in kinds):
            raise ValueError(f"a kind is not {_KIND_FIELDS} texts")
        if type(addresses) is not list:
            raise ValueError("the addresses are no list")
        batch = Batch(
            kinds, _column(_PLACE, places), _column(_MILLISECONDS, milliseconds), addresses, *map(int, more)
        )
    except NOT_MESSAGEPACK as error:
        raise ValueError(f"no batch of outcomes: {error or type(error).__name__}") from error
    if not len(batch.places) == len(batch.milliseconds) == len(addresses):
        raise ValueError("no batch of outcomes: the columns differ in length")
    if batch.places and max(batch.places) >= len(kinds):
        raise ValueError("no batch of outcomes: a kind that is not there")
    return batch


def _milliseconds(text: str) -> int:
    return min(int(text), (1 << 32) - 1) if text.isascii() and text.isdigit() else 0


def batch_of(rows: Iterable[Any]) -> Batch:
    """Of rows as adapters of before send them: the request's id, which nobody asks for, and an Outcome's fields."""
    places: dict[tuple[str, ...], int] = {}
    batch = Batch([], array(_PLACE), array(_MILLISECONDS), [])
    malformed = 0
    for row in rows:
        if not isinstance(row, list) or len(row) != ROW_FIELDS or not all(type(each) is str for each in row):
            malformed += 1
            continue
        if len(places) > _LAST_PLACE:
            malformed += 1
            continue
        _id, *fields, address = row
        milliseconds = _milliseconds(fields.pop(_BEFORE_MILLISECONDS))
        batch.places.append(places.setdefault(tuple(fields), len(places)))
        batch.milliseconds.append(milliseconds)
        batch.addresses.append(address)  # type: ignore[attr-defined]
    return batch._replace(kinds=[list(kind) for kind in places], malformed=malformed)


def pack_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Such rows as a packed batch."""
    return batch_of(map(list, rows)).pack()


def batch_of_packed(packed: bytes) -> Batch:
    """Of packed rows, one after the other with the request's id last. What comes after bytes that are no MessagePack
    is lost."""
    rows = unpacker()
    rows.feed(packed)
    found: list[Any] = []
    try:
        for row in rows:
            found.append([row[-1], *row[:-1]] if isinstance(row, list) and row else row)
    except NOT_MESSAGEPACK:
        found.append(None)
    return batch_of(found)
