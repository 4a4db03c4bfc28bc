"""The control state as filters see it, at one version: an image that all workers share, and the changes since.

A snapshot is never changed. `applied` makes the next one; giving it to the filters is one assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgpack

from kong_plugins.state.base import Block, CanaryOverride
from kong_plugins.state.build_image import DECODERS, build_image
from kong_plugins.state.canaries import override_record
from kong_plugins.state.hashes import hasher
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.lists import RowSet
from kong_plugins.state.marks import MarkView
from kong_plugins.state.named_lists import NamedList, open_list
from kong_plugins.state.overlay import Overlay
from kong_plugins.state.record_views import BreakerView, FallbackView, RecordView, unpack_record
from kong_plugins.state.records import Change, Record, Rows, StateDump
from kong_plugins.state.revocation_view import RevocationTable, RevocationView
from kong_plugins.state.tables import U8, column
from kong_plugins.state.target_table import TargetTable
from kong_plugins.state.target_view import TargetView
from kong_plugins.state.targets import block_record


class _Parts:
    """What is read of an image once, for all snapshots on it."""

    def __init__(self, image: Image) -> None:
        sections = image.sections
        self.image = image
        self.hashed = hasher(image.hash_key)
        try:
            self.blocks = TargetTable(sections, "blocks", self.hashed)
            self.allows = TargetTable(sections, "allows", self.hashed)
            self.revocations = RevocationTable(sections, self.hashed)
            self.records: dict[str, dict[str, bytes]] = msgpack.unpackb(column(sections, "records", U8))
            self.lists: dict[str, NamedList] = {}
            for name, packed in self.records["lists"].items():
                about: RowSet = DECODERS["lists"](unpack_record("lists", name, packed))
                self.lists[name] = open_list(about, sections, self.hashed)
            self.unreadable = int(image.info["unreadable"])
        except (KeyError, TypeError, ValueError, AttributeError, msgpack.UnpackException) as error:
            raise StateFileError(f"a part cannot be read: {error!r}") from error


class _Lists(Mapping[str, NamedList]):
    """The lists of an image with those set and removed since."""

    def __init__(self, held: Mapping[str, NamedList], newer: Mapping[str, NamedList | None]) -> None:
        self._held, self._newer = held, newer

    def __getitem__(self, name: str) -> NamedList:
        found = self._newer[name] if name in self._newer else self._held.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        yield from (name for name in self._held if name not in self._newer)
        yield from (name for name, held in self._newer.items() if held is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Snapshot:
    """The whole control state at one version.

    built: when its image was made, Unix seconds. changes: how many came since; wants_image: one of them has
    more rows than an overlay takes and is not seen before the next image. unreadable: records and rows that
    were left out.
    """

    __slots__ = (
        "_overlay",
        "_parts",
        "allows",
        "blocks",
        "breakers",
        "built",
        "canaries",
        "fallbacks",
        "lists",
        "marks",
        "revocations",
        "version",
    )

    def __init__(self, parts: _Parts, overlay: Overlay | None, version: int) -> None:
        self._parts, self._overlay = parts, overlay
        self.version = version
        self.built = parts.image.built
        targets = {} if overlay is None else overlay.targets
        self.blocks = TargetView(parts.blocks, targets.get("blocks"))
        self.allows = TargetView(parts.allows, targets.get("allows"))
        self.canaries: Mapping[str, CanaryOverride] = self.records("canaries")
        self.fallbacks = FallbackView(self.records("fallbacks"))
        self.breakers = BreakerView(self.records("breakers"))
        self.marks = MarkView(self.records("marks"))
        self.revocations = RevocationView(parts.revocations, None if overlay is None else overlay.revocations)
        self.lists: Mapping[str, NamedList] = (
            parts.lists if overlay is None else _Lists(parts.lists, overlay.lists)
        )

    def records(self, collection: str) -> RecordView[Any]:
        """A collection by key: canaries, fallbacks, breakers, sources and lists as what their modules make of a
        record, limits, jwks and keys as records."""
        newer = None if self._overlay is None else self._overlay.records[collection]
        return RecordView(collection, self._parts.records.get(collection, {}), DECODERS[collection], newer)

    def applied(
        self, changes: Sequence[Change], version: int, rows: Mapping[str, Rows] | None = None
    ) -> Snapshot:
        """The snapshot after these changes, on the same image.

        rows: the rows of imported sets and lists in `changes`, by bulk id, where they are few (`MAX_ROWS`).
        """
        overlay = self._overlay
        if overlay is None:
            parts = self._parts
            overlay = Overlay(parts.blocks, parts.allows, parts.hashed)
        return Snapshot(self._parts, overlay.extended(changes, rows or {}), version)

    @property
    def image_version(self) -> int:
        return self._parts.image.version

    @property
    def changes(self) -> int:
        return 0 if self._overlay is None else self._overlay.changes

    @property
    def wants_image(self) -> bool:
        return self._overlay is not None and self._overlay.wants_image

    @property
    def unreadable(self) -> int:
        return self._parts.unreadable + (0 if self._overlay is None else self._overlay.unreadable)


def snapshot_of(image: Image) -> Snapshot:
    """The snapshot of an image. Raises StateFileError when its sections cannot be read."""
    return Snapshot(_Parts(image), None, image.version)


def snapshot_of_dump(dump: StateDump, namespace: str = "default", built: float = 0.0) -> Snapshot:
    """The snapshot of what a store holds, with an image in this process's memory."""
    return snapshot_of(Image.open(build_image(dump, namespace=namespace, built=built)))


def build(version: int, blocks: Iterable[Block], canaries: Iterable[CanaryOverride]) -> Snapshot:
    """The snapshot of these blocks and overrides alone. Raises ValueError when a block cannot be read."""
    records: dict[str, list[Record]] = {
        "blocks": [
            block_record(block)._replace(created=block.created, version=block.version) for block in blocks
        ],
        "canaries": [
            override_record(canary)._replace(changed=canary.changed, version=canary.version)
            for canary in canaries
        ],
    }
    image = Image.open(build_image(StateDump(version, records, {})))
    if image.info["unreadable"]:
        raise ValueError(f"cannot be read: {', '.join(image.info['samples'])}")
    return snapshot_of(image)


def block_index(blocks: Iterable[Block]) -> TargetView:
    """An index over these blocks alone. Raises ValueError when one cannot be read."""
    return build(0, blocks, ()).blocks


def empty_snapshot() -> Snapshot:
    """The state before anything was set: nothing is blocked, the canaries follow their plans."""
    return build(0, (), ())
