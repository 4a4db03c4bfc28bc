"""Outcomes: what became of the requests, sent by Kong's workers in batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.frames import NOT_MESSAGEPACK, pack, unpacker

REMEMBERED_BATCHES = 4096


def pack_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows with the request id first, as adapters of before send them, in the form of today: one after the other,
    the request id last."""
    return b"".join(pack([*row[1:], row[0]]) for row in rows)


def read_rows(packed: bytes) -> Iterator[Outcome | None]:
    """The rows of a batch; None for one of another shape. What comes after bytes that are no MessagePack is lost."""
    rows = unpacker()
    rows.feed(packed)
    try:
        for row in rows:
            yield _outcome(row)
    except NOT_MESSAGEPACK:
        yield None


def _outcome(row: Any) -> Outcome | None:
    if not isinstance(row, list) or len(row) != len(Outcome._fields):
        return None
    try:
        "".join(row)  # the cheapest look at the type of every field
    except TypeError:
        return None
    return Outcome._make((row[-1], *row[:-1]))


class Outcomes:
    """Takes batches, once each: a batch that is sent again after a lost answer counts once.

    sink: called with the rows of each batch. The counters are for health and metrics.
    """

    def __init__(self, sink: Callable[[list[Outcome]], None] | None = None) -> None:
        self._sink = sink
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.rows = 0
        self.dropped = 0
        self.malformed = 0

    def take(self, batch_id: str, dropped: int, packed: bytes) -> bool:
        """Count a batch of packed rows; False when it was counted before."""
        if batch_id in self._seen:
            return False
        self._seen[batch_id] = None
        if len(self._seen) > REMEMBERED_BATCHES:
            self._seen.popitem(last=False)
        self.dropped += int(dropped)
        rows = []
        for row in read_rows(packed):
            if row is None:
                self.malformed += 1
            else:
                rows.append(row)
        self.rows += len(rows)
        if self._sink is not None and rows:
            self._sink(rows)
        return True
