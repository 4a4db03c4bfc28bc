"""Outcomes: what became of the requests, sent by Kong's workers in batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.frames import NOT_MESSAGEPACK, pack, unpacker

REMEMBERED_BATCHES = 4096
FIELDS = len(Outcome._fields)
_new = tuple.__new__
Kind = tuple[str, str, str, str, str]
"""What metrics tell apart: tenant, route, the status' first digit, source, reason."""


def pack_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows with the request id first, as adapters of before send them, in the form of today: one after the other,
    the request id last."""
    return b"".join(pack([*row[1:], row[0]]) for row in rows)


def read_rows(packed: bytes) -> Iterator[Outcome | None]:
    """The rows of a batch; None for one of another shape. What comes after bytes that are no MessagePack is lost."""
    for row in _texts(packed):
        if row is None:
            yield None
            continue
        row.insert(0, row.pop())
        yield _new(Outcome, row)


def _texts(packed: bytes) -> Iterator[list[str] | None]:
    rows = unpacker()
    rows.feed(packed)
    try:
        for row in rows:
            if isinstance(row, list) and len(row) == FIELDS:
                try:
                    "".join(row)  # the cheapest look at the type of every field
                except TypeError:
                    yield None
                else:
                    yield row
            else:
                yield None
    except NOT_MESSAGEPACK:
        yield None


def count_rows(packed: bytes) -> tuple[dict[Kind, int], int]:
    """How many rows of a batch are of each kind, and how many have another shape."""
    counts: dict[Kind, int] = {}
    malformed = 0
    for row in _texts(packed):
        if row is None:
            malformed += 1
            continue
        kind = row[2], row[0], row[3][:1], row[7], row[8]
        counts[kind] = counts.get(kind, 0) + 1
    return counts, malformed


class Outcomes:
    """Takes batches, once each: a batch that is sent again after a lost answer counts once.

    sink: called with what was counted of each batch; lost: with the rows that were dropped before it. The counters
    are for health and metrics.
    """

    def __init__(
        self,
        sink: Callable[[Mapping[Kind, int]], None] | None = None,
        lost: Callable[[int], None] = lambda _rows: None,
    ) -> None:
        self._sink = sink
        self._lost = lost
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.rows = 0
        self.dropped = 0
        self.malformed = 0

    def take(self, batch_id: str, dropped: int, packed: bytes, given_up: Sequence[Any] = ()) -> bool:
        """Count a batch of packed rows; False when it was counted before.

        given_up: batch id, rows, batch id, rows ... of what Kong's worker got no answer for and counts in `dropped`.
        Each row counts once, as taken or as lost.
        """
        if not self._is_new(batch_id):
            return False
        known = [rows for other, rows in zip(given_up[::2], given_up[1::2]) if not self._is_new(other)]  # noqa: B905
        lost = max(0, dropped - sum(known))
        self.dropped += lost
        self._lost(lost)
        counts, malformed = count_rows(packed)
        self.malformed += malformed
        self.rows += sum(counts.values())
        if self._sink is not None and counts:
            self._sink(counts)
        return True

    def _is_new(self, batch_id: str) -> bool:
        if batch_id in self._seen:
            return False
        self._seen[batch_id] = None
        if len(self._seen) > REMEMBERED_BATCHES:
            self._seen.popitem(last=False)
        return True
