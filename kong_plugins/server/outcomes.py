"""Outcomes: what became of the requests, sent by Kong's workers in batches (columns.py)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kong_plugins.server.columns import NOTHING, Kind, read_batch

log = logging.getLogger("kgate.server")

REMEMBERED_BATCHES = 4096


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
        """Count a packed batch; False when it was counted before.

        given_up: batch id, rows, batch id, rows ... of what Kong's worker got no answer for and counts in `dropped`.
        Each row counts once, as taken or as lost.
        """
        if not self._is_new(batch_id):
            return False
        known = [rows for other, rows in zip(given_up[::2], given_up[1::2]) if not self._is_new(other)]  # noqa: B905
        lost = max(0, dropped - sum(known))
        self.dropped += lost
        self._lost(lost)
        try:
            batch = read_batch(packed)
        except ValueError as error:
            log.error("outcomes: %s", error)
            batch = NOTHING._replace(malformed=1)
        counts = batch.counts()
        self.malformed += batch.malformed
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
