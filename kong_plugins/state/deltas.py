"""A change of the control state on its way from the store to the workers, and to the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kong_plugins.state.base import Reader, RowsGone
from kong_plugins.state.overlay import MAX_ROWS, pack_changes, unpack_changes
from kong_plugins.state.records import Change, Put, Rows
from kong_plugins.state.snapshot import Snapshot

WITH_ROWS = ("sources", "lists")


class Delta(NamedTuple):
    """What changed up to `version`: packed changes (`overlay.pack_changes`) and the rows that belong to them.

    A delta may be applied to a snapshot that holds a part of it already: the last change of a key counts.
    """

    version: int
    changes: bytes
    rows: Mapping[str, Rows]

    def applied_to(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot after it. Raises ValueError when the bytes are no changes."""
        return snapshot.applied(unpack_changes(self.changes), self.version, self.rows)


def delta_of(wire: Any) -> Delta:
    """The delta of a list of its three fields. Raises ValueError."""
    try:
        version, changes, rows = wire
    except (TypeError, ValueError) as error:
        raise ValueError(f"no delta: {error}") from error
    if type(version) is not int or not isinstance(changes, bytes) or not isinstance(rows, Mapping):
        raise ValueError("no delta: version, bytes and rows are of other types")
    return Delta(version, changes, rows)


def read_delta(reader: Reader, news: Sequence[tuple[int, list[Change]]]) -> Delta:
    """The changes of several versions as one delta. Fetches rows where they are few; without them (too many, or
    replaced meanwhile) the snapshot asks for a new image. Raises StoreError."""
    changes = [change for _, some in news for change in some]
    rows: dict[str, Rows] = {}
    for change in changes:
        if not isinstance(change, Put) or change.record.collection not in WITH_ROWS:
            continue
        data = change.record.data
        bulk, count = str(data.get("bulk")), data.get("count")
        if not isinstance(count, int) or count > MAX_ROWS or len(rows) >= 4:
            continue
        with contextlib.suppress(RowsGone):
            rows[bulk] = reader.rows(bulk)
    return Delta(news[-1][0], pack_changes(changes), rows)


def with_local(snapshot: Snapshot, deltas: Sequence[Delta]) -> Snapshot:
    """The snapshot after changes that this node made without the store; its version stays. Raises ValueError."""
    for delta in deltas:
        snapshot = delta._replace(version=snapshot.version).applied_to(snapshot)
    return snapshot


def apply_all(snapshot: Snapshot, deltas: Sequence[Delta]) -> Snapshot:
    """The snapshot after those deltas that are newer than it. Raises ValueError."""
    for delta in deltas:
        if delta.version > snapshot.version:
            snapshot = delta.applied_to(snapshot)
    return snapshot
