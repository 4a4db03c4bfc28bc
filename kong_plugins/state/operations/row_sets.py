"""What imports of blocks and of lists share: rows are checked as a whole, staged, then linked in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from kong_plugins.state.base import Conflict, Store, StoreError
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.lists import RowSet, set_of, set_record
from kong_plugins.state.operations import common
from kong_plugins.state.operations.import_rows import Problems
from kong_plugins.state.records import Record, Rows

Progress = Callable[[int], None]
"""Called with the number of rows done so far, every 1,000 rows and at the end of a part."""
EVERY = 1_000
_TRIES = 5


class ImportReport(NamedTuple):
    """size: rows of the set now; added, removed: against the set of that name before; same: lines that said again
    what another line had said. version is the record's; with dry_run nothing was written and it is 0."""

    name: str
    kind: str
    size: int
    added: int
    removed: int
    same: int
    version: int
    dry_run: bool


def link(
    store: Store,
    event: str,
    collection: str,
    rows: Mapping[str, str],
    made: RowSet,
    *,
    same: int,
    dry_run: bool,
    if_version: int | None,
    progress: Progress | None,
) -> ImportReport:
    """Replace the rows of a set by `rows`, all at once. Raises ValueError, Refused, StoreError."""
    limit = COLLECTIONS[collection].rows
    if not rows:
        raise ValueError("there are no rows to import")
    if len(rows) > limit:
        raise common.Refused(f"{len(rows):,} rows are more than {limit:,}")
    bulk = ""
    for left in reversed(range(_TRIES)):
        held = common.with_rows(store, collection, made.name)
        old: Rows = {} if held is None else held[1]
        version = 0 if held is None else held[0].version
        added, removed = sum(key not in old for key in rows), sum(key not in rows for key in old)
        report = ImportReport(made.name, made.kind, len(rows), added, removed, same, 0, dry_run)
        if dry_run:
            return report
        bulk = bulk or store.stage(_told(rows, progress))
        record = set_record(collection, made._replace(bulk=bulk, size=len(rows)))
        details = {"rows": len(rows), "added": added, "removed": removed}
        wanted = version if if_version is None else if_version
        try:
            stored = common.put(
                store,
                event,
                partial(_same, record),
                collection,
                made.name,
                if_version=wanted,
                details=details,
            )
        except Conflict:
            # somebody else replaced the set meanwhile: what is told as added and removed must be right
            if if_version is not None or not left:
                raise
            continue
        return report._replace(version=stored.version)
    raise AssertionError("unreachable")


def _same(record: Record, current: Record | None) -> Record:
    return record


def drop(store: Store, event: str, collection: str, name: str, *, actor: str, reason: str) -> RowSet | None:
    """Remove a set with its rows. Returns what it was, None when there was none."""
    removed = common.remove(store, event, collection, name, actor=actor, reason=reason)
    return None if removed is None else set_of(removed)


def sets(store: Store, collection: str) -> list[RowSet]:
    """The live sets, by name. Raises StoreError."""
    try:
        return [set_of(record) for record in store.records(collection)]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error


def collect(
    found: Iterator[tuple[int, str, str]], problems: Problems, limit: int, progress: Progress | None
) -> tuple[dict[str, str], int]:
    """(rows, lines that said the same again) of (line, key, text). A key that stands there twice with different
    texts is a problem, and so are more rows than `limit`, where it stops."""
    rows: dict[str, str] = {}
    same = 0
    for count, (line, key, text) in enumerate(found, 1):
        if progress is not None and count % EVERY == 0:
            progress(count)
        known = rows.setdefault(key, text)
        if len(rows) > limit:
            problems.add(line, f"more than {limit:,} rows")
            break
        if len(rows) + same < count:
            same += 1
            if known != text:
                problems.add(line, f"{key} stands there twice, with different reasons or ends")
    problems.check()
    return rows, same


def _told(rows: Mapping[str, str], progress: Progress | None) -> Iterator[tuple[str, str]]:
    for count, row in enumerate(rows.items(), 1):
        yield row
        if progress is not None and (count % EVERY == 0 or count == len(rows)):
            progress(count)
