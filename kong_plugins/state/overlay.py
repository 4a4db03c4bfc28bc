"""What changed since an image was built, small and in this process's memory; and changes as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack

from kong_plugins.state.allows import allow_of
from kong_plugins.state.base import Block
from kong_plugins.state.build_image import DECODERS
from kong_plugins.state.hashes import Hasher
from kong_plugins.state.lists import set_of
from kong_plugins.state.named_lists import NamedList, build_list, open_list
from kong_plugins.state.records import Change, Delete, Put, Record, Rows
from kong_plugins.state.revocations import Revocation, revocation_of
from kong_plugins.state.target_overlay import TargetOverlay
from kong_plugins.state.target_table import TargetTable
from kong_plugins.state.targets import block_of, row_block

MAX_ROWS = 10_000
"""Rows of an imported set or a list that an overlay takes; more of them need a new image."""


class Overlay:
    """The changes since the image. Filled once from a copy of the one before, then not changed any more."""

    def __init__(self, blocks: TargetTable, allows: TargetTable, hashed: Hasher) -> None:
        self._hashed = hashed
        self.targets = {"blocks": TargetOverlay(blocks), "allows": TargetOverlay(allows)}
        self.records: dict[str, dict[str, Any]] = {name: {} for name in DECODERS}
        self.revocations: dict[str, Revocation | None] = {}
        self.lists: dict[str, NamedList | None] = {}
        self.changes = 0
        self.unreadable = 0
        self.wants_image = False

    def extended(self, changes: Sequence[Change], rows: Mapping[str, Rows]) -> Overlay:
        """This overlay and the changes on top; it stays as it is. rows: see `Snapshot.applied`."""
        made = Overlay.__new__(Overlay)
        made._hashed = self._hashed
        made.targets = {name: held.copy() for name, held in self.targets.items()}
        made.records = {name: dict(held) for name, held in self.records.items()}
        made.revocations, made.lists = dict(self.revocations), dict(self.lists)
        made.changes = self.changes + len(changes)
        made.unreadable, made.wants_image = self.unreadable, self.wants_image
        for change in changes:
            try:
                if isinstance(change, Put):
                    made._put(change.record, rows)
                else:
                    made._delete(change.collection, change.key)
            except ValueError:
                made.unreadable += 1  # left out, as in an image
        return made

    def _put(self, record: Record, rows: Mapping[str, Rows]) -> None:
        name, key = record.collection, record.key
        if name == "blocks":
            self.targets[name].put(key, block_of(record))
        elif name == "allows":
            self.targets[name].put(key, Block(*allow_of(record)))
        elif name == "revocations":
            self.revocations[key] = revocation_of(record)
        elif name in self.records:
            decoded = DECODERS[name](record)
            if name in ("sources", "lists"):
                found = rows.get(str(record.data.get("bulk")))
                if found is None or len(found) > MAX_ROWS:
                    # until there is a new image the old rows stay, with what was told of them
                    self.wants_image = True
                    return
                self._set_rows(record, found)
            self.records[name][key] = decoded

    def _set_rows(self, record: Record, rows: Rows) -> None:
        if record.collection == "sources":
            targets = self.targets["blocks"]
            targets.delete_origin(record.key)
            for key, text in rows.items():
                try:
                    targets.put(key, row_block(record, key, text), record.key)
                except (TypeError, ValueError):
                    self.unreadable += 1
        else:
            about = set_of(record)
            sections, bad = build_list(about, rows, self._hashed)
            self.unreadable += len(bad)
            views = {name: memoryview(held) for name, held in sections.items()}
            self.lists[record.key] = open_list(about, views, self._hashed)

    def _delete(self, name: str, key: str) -> None:
        if name in self.targets:
            self.targets[name].delete(key)
        elif name == "revocations":
            self.revocations[key] = None
        elif name in self.records:
            self.records[name][key] = None
            if name == "sources":
                self.targets["blocks"].delete_origin(key)
            elif name == "lists":
                self.lists[key] = None


def pack_changes(changes: Sequence[Change]) -> bytes:
    """Changes as bytes: msgpack, [record..., if_version] for a `Put`, [collection, key, if_version] else."""
    packed: bytes = msgpack.packb([[*change] for change in changes])
    return packed


def unpack_changes(packed: bytes) -> list[Change]:
    """The changes of `pack_changes`. Raises ValueError."""
    try:
        found: list[Change] = []
        for fields in msgpack.unpackb(packed, strict_map_key=False):
            if len(fields) == 2:
                found.append(Put(Record(*fields[0]), fields[1]))
            else:
                found.append(Delete(*fields))
        return found
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"no changes: {error}") from error
