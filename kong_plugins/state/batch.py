"""What a batch of changes must be before a store looks at it: the same rules for every store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.records import MAX_BATCH, MAX_KEY, Change, Put, Record

_BULK = re.compile(r"[0-9a-f]{32}")


def bulk_of(record: Record) -> str:
    """The id of the record's rows, '' for a record of a collection without rows. Raises ValueError."""
    if not COLLECTIONS[record.collection].rows:
        return ""
    bulk = record.data.get("bulk")
    if not isinstance(bulk, str) or not _BULK.fullmatch(bulk):
        raise ValueError(f"{record.collection} {record.key!r}: data.bulk is no id of staged rows")
    return bulk


def check(changes: Sequence[Change]) -> None:
    """Raises ValueError for changes that no store may take."""
    if len(changes) > MAX_BATCH:
        raise ValueError(f"{len(changes)} changes are more than {MAX_BATCH}: stage rows in place of records")
    seen, linked = set(), set()
    for change in changes:
        if isinstance(change, Put):
            collection, key = change.record.collection, change.record.key
        else:
            collection, key = change.collection, change.key
        if collection not in COLLECTIONS:
            raise ValueError(f"collection {collection!r} is not one of {', '.join(COLLECTIONS)}")
        _check_key(collection, key)
        if (collection, key) in seen:
            raise ValueError(f"{collection} {key!r} stands in the changes twice")
        seen.add((collection, key))
        bulk = bulk_of(change.record) if isinstance(change, Put) else ""
        if bulk and bulk in linked:
            raise ValueError(f"{collection} {key!r}: another change has the same rows")
        linked.add(bulk)


def checked_rows(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The rows. Raises ValueError at the first that cannot be stored."""
    for key, text in rows:
        _check_key("row", key)
        if text and not text.startswith("{"):
            raise ValueError(f"row {key!r}: {text!r} is no JSON object")
        yield key, text


def _check_key(collection: str, key: str) -> None:
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise ValueError(f"{collection} {key!r}: a key is 1 to {MAX_KEY} printable characters")
