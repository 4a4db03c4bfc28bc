"""The control state in this process's memory: for one process alone. Nothing outlives it."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Condition

from kong_plugins.state import batch
from kong_plugins.state.base import Committed, Conflict, RowsGone, StoreError, StoreFull
from kong_plugins.state.collections import COLLECTIONS, MAX_EVENTS, MAX_LOG, Collection
from kong_plugins.state.limits import Limited
from kong_plugins.state.records import (
    NEW_VERSION,
    Change,
    Delete,
    Event,
    Put,
    Record,
    Rows,
    StateDump,
    compact,
    dump_body,
    is_live,
)


class MemoryStore:
    """A `Store` without a server. Safe for several threads.

    clock gives Unix seconds; collections and max_log (changes) are for tests.
    """

    address = "memory://"

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        collections: Mapping[str, Collection] = COLLECTIONS,
        max_log: int = MAX_LOG,
        max_events: int = MAX_EVENTS,
    ) -> None:
        self._clock = clock
        self._collections = collections
        self._max_log = max_log
        self._version = 0
        self._records: dict[str, dict[str, Record]] = {name: {} for name in COLLECTIONS}
        self._floors = dict.fromkeys(COLLECTIONS, 0)
        self._bulk: dict[str, dict[str, str]] = {}
        self._staged: dict[str, tuple[dict[str, str], float]] = {}
        self._log: deque[tuple[int, list[Change]]] = deque()
        self._logged = 0
        self._events: deque[Event] = deque(maxlen=max_events)
        self._event_count = 0
        self._changed = Condition()

    def now(self) -> float:
        return self._clock()

    def close(self) -> None:
        """Nothing to give back."""

    # Reader

    def version(self) -> int:
        return self._version

    def load(self) -> StateDump:
        now = self._clock()
        with self._changed:
            records = {
                name: [record for record in held.values() if is_live(record, now)]
                for name, held in self._records.items()
            }
            # rows are never changed in place, only replaced
            ids = [batch.bulk_of(record) for held in records.values() for record in held]
            return StateDump(self._version, records, {bulk: self._bulk[bulk] for bulk in ids if bulk})

    def changes_since(self, version: int) -> list[tuple[int, list[Change]]] | None:
        with self._changed:
            if version == self._version:
                return []
            found = [entry for entry in self._log if entry[0] > version]
            if version > self._version or not found or found[0][0] != version + 1:
                return None
            return found

    def rows(self, bulk: str) -> Rows:
        with self._changed:
            return self._rows(bulk)

    def subscribe(self) -> _MemoryChanges:
        return _MemoryChanges(self)

    # Writer

    def get(self, collection: str, key: str) -> Record | None:
        with self._changed:
            return self._live(collection, key)

    def find(self, collection: str, keys: Sequence[str]) -> list[Record]:
        with self._changed:
            found = (self._live(collection, key) for key in keys)
            return [record for record in found if record is not None]

    def find_rows(self, bulk: str, keys: Sequence[str]) -> Rows:
        with self._changed:
            held = self._rows(bulk)
            return {key: held[key] for key in keys if key in held}

    def records(self, collection: str) -> list[Record]:
        now = self._clock()
        with self._changed:
            held = self._records[collection]
            return [held[key] for key in sorted(held) if is_live(held[key], now)]

    def apply(self, changes: Sequence[Change], event: Event | None = None) -> int:
        return self.commit(changes, event).version

    def commit(self, changes: Sequence[Change], event: Event | None = None) -> Committed:
        batch.check(changes)
        for change in changes:
            if isinstance(change, Put):
                dump_body(change.record)
        if event is not None:
            compact(dict(event.data))
        with self._changed:
            now = self._clock()
            self._purge(now)
            self._check_versions(changes)
            self._check_caps(changes)
            self._check_rows(changes)
            made = [self._make(change, now) for change in changes]
            done = [change for change in made if change is not None]
            versions = tuple(change.record.version if isinstance(change, Put) else 0 for change in made)
            if done:
                self._count(done)
            if event is not None and (done or not changes):
                self._write(told(event, versions))
            self._changed.notify_all()
            return Committed(self._version, now, versions)

    def stage(self, rows: Iterable[tuple[str, str]], ttl: float = 600.0) -> str:
        limit = max(collection.rows for collection in self._collections.values())
        held: dict[str, str] = {}
        for key, text in batch.checked_rows(rows):
            held[key] = text
            if len(held) > limit:
                raise StoreFull(f"{self.address}: more than {limit} rows")
        if not held:
            raise ValueError("no rows")
        bulk = uuid.uuid4().hex
        with self._changed:
            self._staged[bulk] = (held, self._clock() + ttl)
        return bulk

    # EventLog

    def events(self, count: int, after_id: str | None = None) -> list[Event]:
        with self._changed:
            if after_id is None:
                return list(self._events)[-count:] if count > 0 else []
            return [event for event in self._events if _order(event.id) > _order(after_id)][: max(count, 0)]

    def append(self, event: Event) -> str:
        with self._changed:
            written = self._write(event)
            self._changed.notify_all()
            return written

    def wait(self, after_id: str | None, timeout: float) -> list[Event]:
        with self._changed:
            if after_id is None:
                after_id = self._events[-1].id if self._events else "0-0"
            seen = _order(after_id)
            self._changed.wait_for(lambda: bool(self._events) and _order(self._events[-1].id) > seen, timeout)
            return [event for event in self._events if _order(event.id) > seen]

    # LimitBoard

    def limited(self) -> list[Limited]:
        return []

    def forget_limit(self, key: str) -> None:
        """No node counts here."""

    # one step of apply; the lock is held

    def _live(self, collection: str, key: str) -> Record | None:
        record = self._records[collection].get(key)
        return record if record is not None and is_live(record, self._clock()) else None

    def _rows(self, bulk: str) -> Rows:
        if bulk not in self._bulk:
            raise RowsGone(f"{self.address}: the rows {bulk} are not there any more")
        return self._bulk[bulk]

    def _check_versions(self, changes: Sequence[Change]) -> None:
        for change in changes:
            collection, key = _name(change)
            current = self._live(collection, key)
            version = 0 if current is None else current.version
            if change.if_version is not None and change.if_version != version:
                raise Conflict(
                    f"{collection} {key}: is at version {version}, not {change.if_version}", current
                )

    def _check_caps(self, changes: Sequence[Change]) -> None:
        more: dict[str, int] = {}
        adding = set()
        for change in changes:
            collection, key = _name(change)
            there = key in self._records[collection]
            if isinstance(change, Put) and not there:
                more[collection] = more.get(collection, 0) + 1
                adding.add(collection)
            elif isinstance(change, Delete) and there:
                more[collection] = more.get(collection, 0) - 1
        for collection in sorted(adding):
            cap = self._collections[collection].cap
            if len(self._records[collection]) + more[collection] > cap:
                raise StoreFull(f"{self.address}: holds {cap} {collection}, no more are allowed")

    def _check_rows(self, changes: Sequence[Change]) -> None:
        for name, limits in self._collections.items():
            if not limits.rows:
                continue
            held = {
                key: len(self._bulk[batch.bulk_of(record)]) for key, record in self._records[name].items()
            }
            linking = False
            for change in changes:
                collection, key = _name(change)
                if collection != name:
                    continue
                if isinstance(change, Delete):
                    held.pop(key, None)
                    continue
                bulk, current = batch.bulk_of(change.record), self._records[name].get(key)
                if current is not None and batch.bulk_of(current) == bulk:
                    continue
                if bulk not in self._staged:
                    raise StoreError(
                        f"{self.address}: the staged rows of {name} {key} are gone: import again"
                    )
                held[key] = len(self._staged[bulk][0])
                linking = True
                if held[key] > limits.rows:
                    raise StoreFull(f"{self.address}: {name} {key}: more than {limits.rows} rows")
            if linking and sum(held.values()) > limits.all_rows:
                raise StoreFull(f"{self.address}: {name} hold {limits.all_rows} rows, no more are allowed")

    def _make(self, change: Change, now: float) -> Change | None:
        """Make one change. Returns it as the log tells it, None when there was nothing to do."""
        collection, key = _name(change)
        old = self._records[collection].get(key)
        if isinstance(change, Delete):
            if old is None:
                return None
            self._drop(collection, key)
            return Delete(collection, key)
        record = change.record._replace(
            version=1 + (self._floors[collection] if old is None else old.version),
            created=now if old is None else old.created,
            changed=now,
        )
        bulk = batch.bulk_of(record)
        if bulk and bulk not in self._bulk:
            if old is not None:
                self._bulk.pop(batch.bulk_of(old), None)
            self._bulk[bulk] = self._staged.pop(bulk)[0]
        self._records[collection][key] = record
        return Put(record)

    def _count(self, done: list[Change]) -> None:
        # the first version is the clock in milliseconds, as in Redis
        self._version = self._version + 1 if self._version else int(self._clock() * 1000)
        self._log.append((self._version, done))
        self._logged += len(done)
        while self._logged > self._max_log and len(self._log) > 1:
            self._logged -= len(self._log.popleft()[1])

    def _write(self, event: Event) -> str:
        self._event_count += 1
        now = self._clock()
        written = event._replace(id=f"{int(now * 1000)}-{self._event_count}", time=int(now * 1000) / 1000)
        self._events.append(written)
        return written.id

    def _drop(self, collection: str, key: str) -> None:
        old = self._records[collection].pop(key)
        self._floors[collection] = max(self._floors[collection], old.version)
        self._bulk.pop(batch.bulk_of(old), None)

    def _purge(self, now: float) -> None:
        for collection, held in self._records.items():
            for key in [key for key, record in held.items() if not is_live(record, now)]:
                self._drop(collection, key)
        for bulk in [bulk for bulk, (_, end) in self._staged.items() if end <= now]:
            del self._staged[bulk]


def told(event: Event, versions: Sequence[int]) -> Event:
    """The event with the version that its change gave."""
    after = event.data.get("after")
    if not versions or not isinstance(after, dict) or after.get("version") != NEW_VERSION:
        return event
    return event._replace(data={**event.data, "after": {**after, "version": versions[0]}})


def _name(change: Change) -> tuple[str, str]:
    if isinstance(change, Put):
        return change.record.collection, change.record.key
    return change.collection, change.key


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number or 0)


class _MemoryChanges:
    """Waits for the store's condition."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._seen = store.version()

    def wait(self, timeout: float) -> bool:
        store = self._store
        with store._changed:
            told = store._changed.wait_for(lambda: store.version() != self._seen, timeout)
            self._seen = store.version()
            return told

    def close(self) -> None:
        """Nothing to give back."""
