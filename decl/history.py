"""History: every apply with who, when, from which revision, and what came of it; and the bytes, to go back to.

An entry is written before the first node is touched, as `started`: one that stays so is an apply that was killed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from decl.blobs import Blobs

Result = Literal["started", "changed", "rolled back", "partial", "failed"]
KEEP = 50
"""Entries that are kept, with their bytes."""


class Entry(NamedTuple):
    """One apply. time is Unix seconds; digest the md5 of the rendered bytes; before what the nodes held (a hash a
    node in DB-less mode, the digest of the database under "db")."""

    id: str
    cluster: str
    time: float
    actor: str
    revision: str
    digest: str
    result: Result
    mode: str = "dbless"
    before: Mapping[str, str] = {}
    reason: str = ""
    fence: int = 0
    tags: Sequence[str] = ()
    snapshot: str = ""
    """The name of the database's entities as they were before, to go back to."""


class History:
    """The applies of one cluster. tags: those of one owner among several that share a database."""

    def __init__(self, blobs: Blobs, cluster: str, tags: Sequence[str] = ()) -> None:
        self._blobs, self._cluster, self._tags = blobs, cluster, frozenset(tags)

    def entries(self) -> list[Entry]:
        """All entries, the oldest first. Raises BlobError."""
        found = []
        for name in self._blobs.names():
            if name.startswith(f"{self._cluster}.apply."):
                content = self._blobs.get(name)
                if content is not None:
                    found.append(Entry(**json.loads(content)))
        return sorted(found, key=lambda entry: int(entry.id))

    def begin(self, entry: Entry, content: bytes, snapshot: Mapping[str, Any] | None = None) -> Entry:
        """Note an apply that is about to begin; the entry with its id."""
        known = self.entries()
        number = str(int(known[-1].id) + 1 if known else 1)
        if snapshot is not None:
            name = f"snapshot-{number}"
            self.keep(name, json.dumps(snapshot, ensure_ascii=False).encode("utf-8"))
            entry = entry._replace(snapshot=name)
        self.keep(entry.digest, content)
        entry = entry._replace(id=number, result="started", cluster=self._cluster)
        self._write(entry)
        self._trim([*known, entry])
        return entry

    def finish(self, entry: Entry, result: Result, reason: str = "") -> Entry:
        """Note what came of it."""
        entry = entry._replace(result=result, reason=reason)
        self._write(entry)
        return entry

    def keep(self, digest: str, content: bytes) -> None:
        """Keep bytes under their digest."""
        self._blobs.put(f"{self._cluster}.bytes.{digest}", gzip.compress(content, 3, mtime=0))

    def content(self, digest: str) -> bytes | None:
        """The bytes of a digest, None when they are not kept."""
        found = self._blobs.get(f"{self._cluster}.bytes.{digest}")
        return None if found is None else gzip.decompress(found)

    def own(self) -> list[Entry]:
        """The entries of this owner: others' are about other entities. Raises BlobError."""
        return [entry for entry in self.entries() if self.is_own(entry)]

    def is_own(self, entry: Entry) -> bool:
        """Whether an apply was of the same tags."""
        return frozenset(entry.tags) == self._tags

    def last_applied(self) -> Entry | None:
        """This owner's last apply that reached its end."""
        done = [entry for entry in self.own() if entry.result == "changed"]
        return done[-1] if done else None

    def interrupted(self) -> Entry | None:
        """This owner's last apply, if it was killed."""
        known = self.own()
        return known[-1] if known and known[-1].result == "started" else None

    def _write(self, entry: Entry) -> None:
        text = json.dumps({**entry._asdict(), "before": dict(entry.before), "tags": list(entry.tags)})
        self._blobs.put(f"{self._cluster}.apply.{entry.id}", text.encode())

    def _trim(self, known: Sequence[Entry]) -> None:
        gone, kept = known[:-KEEP], known[-KEEP:]
        if not gone:
            return
        needed = {name for entry in kept for name in (entry.digest, entry.snapshot, *entry.before.values())}
        for entry in gone:
            self._blobs.delete(f"{self._cluster}.apply.{entry.id}")
            for name in (entry.digest, entry.snapshot):
                if name and name not in needed:
                    self._blobs.delete(f"{self._cluster}.bytes.{name}")
