"""The reading side of the Redis store: everything at one version, the changes since, the news that there are some."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kong_plugins.state import batch
from kong_plugins.state.base import RowsGone, StoreError
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.connection import ANSWER_SECONDS
from kong_plugins.state.records import Change, Delete, Put, Record, Rows, StateDump, is_live, load_record
from kong_plugins.state.redis_part import SCAN_PAGE, RedisPart

_LOAD_TRIES = 5


class RedisReader(RedisPart):
    """A `Reader`."""

    def version(self) -> int:
        with self._errors():
            return self._number(self._client.get(self._version))

    def _number(self, text: str | None) -> int:
        """The version in a stored text."""
        try:
            return int(text or 0)
        except ValueError as error:
            raise StoreError(
                f"{self.address}: {self._version} holds {text[:40]!r}, no version"  # type: ignore[index] # no int
            ) from error

    def load(self) -> StateDump:
        for _ in range(_LOAD_TRIES):
            dump = self._try_load()
            if dump is not None:
                return dump
        raise StoreError(f"{self.address}: changes faster than it can be read")

    def _try_load(self) -> StateDump | None:
        """The state, read in pages so that Redis goes on serving others: what changed meanwhile is then taken
        from the log. None when the log does not reach back so far."""
        version = self.version()
        texts = {name: self._scan(key) for name, key in self._hash.items()}
        bulk: dict[str, Rows | None] = {}
        while True:
            with_rows = {name: texts[name] for name, limits in COLLECTIONS.items() if limits.rows}
            linked = {batch.bulk_of(each) for some in _parsed_all(with_rows)[0].values() for each in some}
            for wanted in linked - bulk.keys():
                bulk[wanted] = self._scan_rows(wanted)
            news = self._texts_since(version)
            if news is None:
                return None
            if not news:
                break
            for _, collection, key, text in news:
                if text:
                    texts[collection][key] = text
                else:
                    texts[collection].pop(key, None)
            version = news[-1][0]
        now = self.now()
        held, unreadable = _parsed_all(texts)
        records = {name: [record for record in some if is_live(record, now)] for name, some in held.items()}
        kept: dict[str, Rows] = {}
        for name, limits in COLLECTIONS.items():
            for record in records[name] if limits.rows else ():
                rows = bulk[batch.bulk_of(record)]
                if rows is None:
                    return None
                kept[batch.bulk_of(record)] = rows
        return StateDump(version, records, kept, unreadable)

    def changes_since(self, version: int) -> list[tuple[int, list[Change]]] | None:
        news = self._texts_since(version)
        if news is None:
            return None
        found: list[tuple[int, list[Change]]] = []
        for at, collection, key, text in news:
            if not found or found[-1][0] != at:
                found.append((at, []))
            change = Put(self._parsed(collection, key, text)) if text else Delete(collection, key)
            found[-1][1].append(change)
        return found

    def _texts_since(self, version: int) -> list[tuple[int, str, str, str]] | None:
        """(version, collection, key, stored text or "" for removed) of the log; None: it has a gap."""
        with self._errors():
            # the version first: a change between the two stands in the log then. No MULTI: a Redis whose memory
            # is full refuses reads in it
            current, entries = (
                self._client.pipeline(transaction=False)
                .get(self._version)
                .xrange(self._log, f"{version + 1}-0")
                .execute()
            )
        newest = self._number(current)
        if not entries and newest == version:
            return []
        if newest < version or not entries or entries[0][0] != f"{version + 1}-0":
            return None
        found = []
        for entry_id, fields in entries:
            for name, text in fields.items():
                _, collection, key = name.split(" ", 2)
                found.append((int(entry_id.partition("-")[0]), collection, key, text))
        return found

    def rows(self, bulk: str) -> Rows:
        rows = self._scan_rows(bulk)
        if rows is None:
            raise RowsGone(f"{self.address}: the rows {bulk} are not there any more")
        return rows

    def _scan_rows(self, bulk: str) -> Rows | None:
        """The rows; None when they are gone. An id is never used again, so rows that are there after the scan
        were there all the time."""
        rows = self._scan(self._bulk + bulk)
        with self._errors():
            return rows if self._client.exists(self._bulk + bulk) else None

    def _scan(self, key: str) -> dict[str, str]:
        """A hash, read in pages."""
        found: dict[str, str] = {}
        cursor = 0
        while True:
            with self._errors():
                cursor, page = self._client.hscan(key, cursor, count=SCAN_PAGE)
            found.update(page)
            if not cursor:
                return found

    def subscribe(self) -> _RedisChanges:
        with self._errors():
            return _RedisChanges(self, self._client.pubsub(), self._channel)


def _parsed_all(
    texts: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, list[Record]], list[tuple[str, str]]]:
    """The records by collection, and what is none. That is left out: a revocation must not wait for whoever repairs
    what somebody wrote by hand."""
    held: dict[str, list[Record]] = {name: [] for name in texts}
    unreadable = []
    for name, stored in texts.items():
        for key, text in stored.items():
            try:
                record = load_record(name, key, text)
                batch.bulk_of(record)
                held[name].append(record)
            except ValueError:
                unreadable.append((name, key))
    return held, unreadable


class _RedisChanges:
    """A subscription to the channel, on a connection of its own; it holds when the object is made."""

    def __init__(self, store: RedisReader, pubsub: Any, channel: str) -> None:
        self._store = store
        self._pubsub = pubsub
        pubsub.subscribe(channel)
        # not before Redis has confirmed it: a change between is told by nobody
        confirmed = pubsub.get_message(timeout=ANSWER_SECONDS)
        if confirmed is None or confirmed["type"] != "subscribe":
            pubsub.close()
            raise StoreError(f"{store.address}: no answer to a subscription")

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        with self._store._errors():
            while True:
                message = self._pubsub.get_message(timeout=max(0.0, deadline - time.monotonic()))
                if message is None or message["type"] == "message":
                    return message is not None

    def close(self) -> None:
        self._pubsub.close()
