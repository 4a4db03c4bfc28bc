"""What the operations share: checked notes and TTLs, and changing one record by compare-and-set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from kong_plugins.state.base import Conflict, RowsGone, Store
from kong_plugins.state.collections import COLLECTIONS, DAY
from kong_plugins.state.records import NEW_VERSION, Delete, Event, Put, Record, Rows, compact

MAX_NOTE = 200
LONGEST_TTL = 3650 * DAY
_TRIES = 5
_MAX_EVENT_DATA = 4_096


class Refused(Exception):
    """A rule forbids it; nothing was written. The message says which."""


class NotFound(Exception):
    """There is no such thing; nothing was written. The message says what to look at."""


def note(field: str, text: str) -> str:
    """A short printable text of an operator. Raises ValueError."""
    if len(text) > MAX_NOTE or not text.isprintable():
        raise ValueError(f"{field}: at most {MAX_NOTE} printable characters")
    return text


def check_notes(actor: str, reason: str) -> None:
    """Raises ValueError for an actor or a reason that is too long or not printable."""
    note("actor", actor)
    note("reason", reason)


def end(store: Store, collection: str, ttl: float | None) -> float | None:
    """The end of a record that lasts `ttl` seconds from the store's now; None: the collection's default.

    Raises ValueError for a TTL that is not in the future.
    """
    if ttl is None:
        ttl = COLLECTIONS[collection].default_ttl
        return None if ttl is None else store.now() + ttl
    if not math.isfinite(ttl) or not 0 < ttl <= LONGEST_TTL:
        raise ValueError(f"ttl: {ttl:g} s is not more than 0 s and at most {LONGEST_TTL / DAY:.0f} days")
    return store.now() + ttl


def view(record: Record | None) -> dict[str, Any] | None:
    """A record in an event's data; long data (a list of users) is left out."""
    if record is None:
        return None
    data = record.data if len(compact(dict(record.data))) <= _MAX_EVENT_DATA else {"omitted": True}
    return {"data": dict(data), "expires": record.expires, "version": record.version}


def put(
    store: Store,
    kind: str,
    make: Callable[[Record | None], Record],
    collection: str,
    key: str,
    *,
    if_version: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> Record:
    """Set one record to what `make` makes of the current one, with the event `kind`. Returns it with its version.

    Without `if_version` a lost race is run again; with it Conflict tells what the other one set.
    """
    for left in reversed(range(_TRIES)):
        current = store.get(collection, key)
        version = 0 if current is None else current.version
        if if_version is not None and if_version != version:
            raise Conflict(f"{collection} {key}: is at version {version}, not {if_version}", current)
        record = make(current)
        after = {**(view(record) or {}), "version": NEW_VERSION}
        data = {"before": view(current), "after": after, **(details or {})}
        event = Event("", 0.0, kind, record.actor, key, record.reason, data)
        try:
            done = store.commit([Put(record, version)], event)
        except Conflict:
            if if_version is not None or not left:
                raise
            continue
        created = done.time if current is None else current.created
        return record._replace(version=done.versions[0], created=created, changed=done.time)
    raise AssertionError("unreachable")


def remove(
    store: Store,
    kind: str,
    collection: str,
    key: str,
    *,
    actor: str,
    reason: str = "",
    if_version: int | None = None,
) -> Record | None:
    """Remove one record with the event `kind`. Returns what it was, None when there was none.

    With `if_version` Conflict tells what the other one set.
    """
    check_notes(actor, reason)
    for left in reversed(range(_TRIES)):
        current = store.get(collection, key)
        if current is None and not if_version:
            return None
        wanted = if_version if if_version is not None or current is None else current.version
        event = Event("", 0.0, kind, actor, key, reason, {"before": view(current), "after": None})
        try:
            store.apply([Delete(collection, key, wanted)], event)
        except Conflict:
            if if_version is not None or not left:
                raise
            continue
        return current
    raise AssertionError("unreachable")


def with_rows(store: Store, collection: str, name: str) -> tuple[Record, Rows] | None:
    """A set and its rows; None when there is no such set. A set that is replaced meanwhile is read again."""
    for left in reversed(range(_TRIES)):
        record = store.get(collection, name)
        if record is None:
            return None
        try:
            return record, store.rows(str(record.data.get("bulk")))
        except RowsGone:
            if not left:
                raise
    raise AssertionError("unreachable")
