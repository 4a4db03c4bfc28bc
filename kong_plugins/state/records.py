"""The control state's records: what an operator or the gateway set, changes of them, and the audit events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MAX_BATCH = 100
"""Changes of one step: a script of Redis must stay short. More rows than that are staged (`Writer.stage`)."""
MAX_RECORD_BYTES = 262_144
"""The longest record as JSON."""
MAX_KEY = 1_200


class Record(NamedTuple):
    """One thing that was set. `collection` is one of `collections.COLLECTIONS`, `key` its canonical name there,
    `data` JSON with the collection's own fields (the facades know them).

    version counts the changes of this record (0: not stored yet) and is what compare-and-set looks at. It begins
    above every version that a removed record of the collection had, so that a new one is not taken for the old one.
    source is "cli", "import:NAME", "gateway:NODE" or "". Times are Unix seconds by the store's clock; the store
    sets `version`, `created` and `changed`, whatever they are in a `Put`. It ends at the second of `expires`.
    """

    collection: str
    key: str
    data: Mapping[str, Any]
    version: int = 0
    actor: str = ""
    reason: str = ""
    source: str = ""
    created: float = 0.0
    changed: float = 0.0
    expires: float | None = None


class Put(NamedTuple):
    """Set a record whole. if_version: the version that it must have now, 0 for "must not be there"."""

    record: Record
    if_version: int | None = None


class Delete(NamedTuple):
    """Remove a record; one that is not there is no error without `if_version`."""

    collection: str
    key: str
    if_version: int | None = None


Change = Put | Delete
NEW_VERSION = "@new"


class Event(NamedTuple):
    """One entry of the audit log: who changed what, or what the gateway decided by itself.

    kind is OBJECT.VERB ("block.add", "canary.set", "breaker.open", "state.import"), subject the thing's name.
    The store gives `id` and `time` (Unix seconds). data holds details, as JSON; NEW_VERSION for a "version" becomes
    the one that the first change gives.
    """

    id: str
    time: float
    kind: str
    actor: str
    subject: str
    reason: str = ""
    data: Mapping[str, Any] = {}


Rows = Mapping[str, str]
"""Imported rows: key -> "" or JSON of what differs from the record that they belong to (reason, expires)."""


class StateDump(NamedTuple):
    """The whole state at one version. records: live ones, by collection (all collections are there).
    bulk: rows by the `bulk` id that stands in the data of records in `sources` and `lists`. unreadable: (collection,
    key) of what is no record."""

    version: int
    records: Mapping[str, Sequence[Record]]
    bulk: Mapping[str, Rows]
    unreadable: Sequence[tuple[str, str]] = ()


def is_live(record: Record, now: float) -> bool:
    """Whether the record counts at `now` (Unix seconds). It ends at the very second of `expires`."""
    return record.expires is None or now < record.expires


def compact(value: Any) -> str:
    """Short JSON. Raises ValueError for numbers that JSON has not, TypeError for what is no JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


# A stored record is VERSION CREATED CHANGED JSON, apart by spaces: scripts must not read the JSON, Lua's numbers
# lose digits.


def dump_body(record: Record) -> str:
    """The JSON part of a stored record. Raises ValueError when the record cannot be stored."""
    name = f"{record.collection} {record.key!r}"
    try:
        body = compact(
            {
                "data": dict(record.data),
                "actor": record.actor,
                "reason": record.reason,
                "source": record.source,
                "expires": record.expires,
            }
        )
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
    if len(body) > MAX_RECORD_BYTES:
        raise ValueError(f"{name}: {len(body)} bytes are more than {MAX_RECORD_BYTES}")
    return body


def load_record(collection: str, key: str, text: str) -> Record:
    """The record of its stored text. Raises ValueError naming the record."""
    try:
        version, created, changed, body = text.split(" ", 3)
        content = json.loads(body)
        expires, data = content["expires"], content["data"]
        if not isinstance(data, dict):
            raise TypeError("data is no object")
        return Record(
            collection,
            key,
            data,
            int(version),
            str(content["actor"]),
            str(content["reason"]),
            str(content["source"]),
            float(created),
            float(changed),
            None if expires is None else float(expires),
        )
    except (KeyError, TypeError, ValueError) as error:
        cause = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{collection} {key!r} cannot be read: {cause}") from error
