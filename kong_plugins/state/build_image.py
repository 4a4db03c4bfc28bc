"""Building an image from what a store holds. Takes seconds for a million rows: run it off the request path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgpack

from kong_plugins.state.allows import allow_of
from kong_plugins.state.breakers import breaker_of
from kong_plugins.state.canaries import override_of
from kong_plugins.state.fallbacks import forced_of
from kong_plugins.state.hashes import Hasher, hasher
from kong_plugins.state.image import pack_image
from kong_plugins.state.limits import reset_of
from kong_plugins.state.lists import set_of
from kong_plugins.state.marks import mark_of
from kong_plugins.state.named_lists import build_list
from kong_plugins.state.record_views import pack_record
from kong_plugins.state.records import Record, Rows, StateDump
from kong_plugins.state.revocation_view import build_revocations
from kong_plugins.state.revocations import Revocation, revocation_of
from kong_plugins.state.target_table import Meta, TargetTableBuilder
from kong_plugins.state.targets import block_of, row_meta

DECODERS: Mapping[str, Callable[[Record], Any]] = {
    "canaries": override_of,
    "fallbacks": forced_of,
    "breakers": breaker_of,
    "limits": reset_of,
    "marks": mark_of,
    "sources": set_of,
    "lists": set_of,
    "jwks": lambda record: record,
    "keys": lambda record: record,
}
"""Collections that are kept as records, and what a snapshot makes of one. Raises ValueError."""

_SAMPLES = 10


class _Unreadable:
    """Counts what cannot be read. One such record, of a newer kgate or written by hand, must not keep a
    revocation from counting: it is left out and told."""

    def __init__(self) -> None:
        self.count = 0
        self.samples: list[str] = []

    def add(self, collection: str, keys: Iterable[str]) -> None:
        for key in keys:
            self.count += 1
            if len(self.samples) < _SAMPLES:
                self.samples.append(f"{collection} {key}"[:200])


def build_image(
    dump: StateDump,
    *,
    namespace: str = "default",
    built: float = 0.0,
    key: bytes = b"",
    hash_key: bytes | None = None,
) -> bytes:
    """The image of everything in `dump`.

    built: now, in Unix seconds. key: the node's state key. hash_key: 16 bytes, for tests; else drawn.
    """
    hash_key = os.urandom(16) if hash_key is None else hash_key
    hashed = hasher(hash_key)
    unreadable = _Unreadable()
    for collection, name in dump.unreadable:
        unreadable.add(collection, (name,))
    sections = {
        **_targets("blocks", dump, hashed, unreadable),
        **_targets("allows", dump, hashed, unreadable),
        **_revocations(dump, hashed, unreadable),
        **_lists(dump, hashed, unreadable),
        "records": _records(dump, unreadable),
    }
    return pack_image(
        sections,
        namespace=namespace,
        version=dump.version,
        built=built,
        hash_key=hash_key,
        info={"unreadable": unreadable.count, "samples": unreadable.samples},
        key=key,
    )


def _targets(name: str, dump: StateDump, hashed: Hasher, unreadable: _Unreadable) -> dict[str, bytes]:
    builder = TargetTableBuilder(hashed)
    # later ones come first in a look-up: what an operator set by itself tells more than a row of an import
    for source in dump.records.get("sources", ()) if name == "blocks" else ():

        def term_of(text: str, source: Record = source) -> int:
            reason, expires = row_meta(source, text)
            origin = source.source or f"import:{source.key}"
            meta = Meta(source.key, reason, source.actor, source.changed, origin, 0)
            return builder.term(meta, expires)

        rows = dump.bulk.get(str(source.data.get("bulk")), {})
        unreadable.add(f"sources {source.key}", builder.add_rows(source.key, rows, term_of))
    check = block_of if name == "blocks" else allow_of
    for record in dump.records.get(name, ()):
        meta = Meta("", record.reason, record.actor, record.created, record.source, record.version)
        try:
            check(record)
            builder.add(record.key, builder.term(meta, record.expires))
        except ValueError:
            unreadable.add(name, (record.key,))
    return builder.sections(name)


def _revocations(dump: StateDump, hashed: Hasher, unreadable: _Unreadable) -> dict[str, bytes]:
    found: list[Revocation] = []
    for record in dump.records.get("revocations", ()):
        try:
            found.append(revocation_of(record))
        except ValueError:
            unreadable.add("revocations", (record.key,))
    return build_revocations(found, hashed)


def _lists(dump: StateDump, hashed: Hasher, unreadable: _Unreadable) -> dict[str, bytes]:
    sections: dict[str, bytes] = {}
    for record in dump.records.get("lists", ()):
        try:
            about = set_of(record)
        except ValueError:
            continue  # counted with the records
        rows: Rows = dump.bulk.get(about.bulk, {})
        made, bad = build_list(about, rows, hashed)
        sections.update(made)
        unreadable.add(f"lists {about.name}", bad)
    return sections


def _records(dump: StateDump, unreadable: _Unreadable) -> bytes:
    packed: dict[str, dict[str, bytes]] = {}
    for name, decode in DECODERS.items():
        held = packed[name] = {}
        for record in dump.records.get(name, ()):
            try:
                decode(record)
                held[record.key] = pack_record(record)
            except (TypeError, ValueError):
                unreadable.add(name, (record.key,))
    made: bytes = msgpack.packb(packed)
    return made
