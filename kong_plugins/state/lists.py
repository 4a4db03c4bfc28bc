"""Sets of rows as records: named lists that configs name (`lists`) and imported sets of blocks (`sources`).

Both: key NAME, data {kind, count, bulk}. Rows of a source are keys of `blocks` ("ip V", "cidr V", ...). Rows
of a list: kind users: "[ISS|]SUB"; kind addresses: "ip V" or "cidr V".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from kong_plugins.state.records import Record
from kong_plugins.state.targets import parse_network_target

LIST_KINDS = ("users", "addresses")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_USER = 512
_ANY_WIDTH = {4: 0, 6: 0}


class RowSet(NamedTuple):
    """kind is users or addresses for a list, blocks for a source; size is the number of rows (data.count)."""

    name: str
    kind: str
    size: int
    bulk: str
    reason: str
    actor: str
    created: float
    changed: float
    expires: float | None = None
    source: str = ""
    version: int = 0


def check_set_name(name: str) -> str:
    """The name itself. Raises ValueError when it is no name of a list or source."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"name: {name!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def list_row(kind: str, text: str) -> str:
    """The row of one entry of a list, canonical. Raises ValueError."""
    if kind == "addresses":
        return " ".join(parse_network_target(text, _ANY_WIDTH))
    if not 0 < len(text) <= _MAX_USER or not text.isprintable():
        raise ValueError(f"{text!r}: a user is 1 to {_MAX_USER} printable characters")
    return text


def set_record(collection: str, rows: RowSet) -> Record:
    """The record (of `lists` or `sources`) that links staged rows. The store gives its times and version."""
    return Record(
        collection,
        rows.name,
        {"kind": rows.kind, "count": rows.size, "bulk": rows.bulk},
        actor=rows.actor,
        reason=rows.reason,
        source=rows.source,
        expires=rows.expires,
    )


def set_of(record: Record) -> RowSet:
    """The list or source of a record. Raises ValueError naming it."""
    kinds = LIST_KINDS if record.collection == "lists" else ("blocks",)
    try:
        kind, size, bulk = str(record.data["kind"]), int(record.data["count"]), str(record.data["bulk"])
        if kind not in kinds:
            raise ValueError(f"kind {kind!r} is not known")
    except (KeyError, TypeError, ValueError) as error:
        cause = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{record.collection} {record.key!r}: {cause}") from error
    return RowSet(
        record.key,
        kind,
        size,
        bulk,
        record.reason,
        record.actor,
        record.created,
        record.changed,
        record.expires,
        record.source,
        record.version,
    )
