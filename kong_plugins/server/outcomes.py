"""Outcomes: what became of the requests, sent by Kong's workers in batches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

REMEMBERED_BATCHES = 4096


class Outcome(NamedTuple):
    """One row of a batch (docs/protocol.md); all text, as nginx wrote it."""

    request_id: str
    route: str
    service: str
    tenant: str
    status: str
    upstream_status: str
    tries: str
    milliseconds: str
    source: str
    reason: str
    arm: str
    memo: str
    ip: str


class Outcomes:
    """Takes batches, once each: a batch that is sent again after a lost answer counts once.

    sink: called with each row. The counters are for health and metrics.
    """

    def __init__(self, sink: Callable[[Outcome], None] | None = None) -> None:
        self._sink = sink
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.rows = 0
        self.dropped = 0
        self.malformed = 0

    def take(self, batch_id: str, dropped: int, rows: Sequence[Sequence[Any]]) -> bool:
        """Count a batch; False when it was counted before."""
        if batch_id in self._seen:
            return False
        self._seen[batch_id] = None
        if len(self._seen) > REMEMBERED_BATCHES:
            self._seen.popitem(last=False)
        self.dropped += int(dropped)
        for row in rows:
            if len(row) != len(Outcome._fields):
                self.malformed += 1
                continue
            self.rows += 1
            if self._sink is not None:
                self._sink(Outcome(*map(str, row)))
        return True
