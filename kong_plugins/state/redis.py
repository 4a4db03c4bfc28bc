"""The control state in Redis, shared by all nodes.

Keys, all in one slot of a cluster by the hash tag {NAMESPACE}; none grows without a bound:

    kgate:v2:{NAMESPACE}:version         number of the last change
    kgate:v2:{NAMESPACE}:COLLECTION      hash KEY -> record, at most the collection's cap
    kgate:v2:{NAMESPACE}:expiry          sorted set "COLLECTION KEY" by end, of the records that end
    kgate:v2:{NAMESPACE}:links           hash "COLLECTION KEY" -> "ID COUNT" of its rows
    kgate:v2:{NAMESPACE}:bulk:ID         hash of rows; with a TTL until a record links it, at most the cap
    kgate:v2:{NAMESPACE}:log             stream of about MAX_LOG changes; ids are VERSION-N
    kgate:v2:{NAMESPACE}:events          stream of about MAX_EVENTS audit events
    kgate:v2:{NAMESPACE}:limited         hash NODE -> what its limits refused lately; with a TTL
    kgate:v2:{NAMESPACE}:limit:HASH      counter of a strict limit; with a TTL
    kgate:v2:{NAMESPACE}:cells           stream of what nodes used, see `exchange.py`; with a cap and a TTL
    kgate:v2:{NAMESPACE}:changed         channel, tells the new version

The records have no TTL in Redis: a block without end must not vanish. Ended ones are removed with every change.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import redis

from kong_plugins.state import batch
from kong_plugins.state.base import Committed, Conflict, RowsGone, StoreError, StoreFull
from kong_plugins.state.records import Change, Delete, Event, Put, Record, Rows, compact, dump_body, is_live
from kong_plugins.state.redis_events import RedisEvents, event_texts
from kong_plugins.state.redis_limits import RedisLimits
from kong_plugins.state.redis_part import PAGE
from kong_plugins.state.redis_reader import RedisReader


class RedisStore(RedisReader, RedisEvents, RedisLimits):
    """A `Store` in Redis. Safe for several threads.

    url, ca_file: see `connect`. namespace separates control states in one Redis; collections, max_log and
    max_events are for tests. Nothing is connected before the first call. Raises ValueError for a URL or
    namespace that is none.
    """

    def get(self, collection: str, key: str) -> Record | None:
        with self._errors():
            text = self._client.hget(self._hash[collection], key)
        if text is None:
            return None
        record = self._parsed(collection, key, text)
        return record if record.expires is None or is_live(record, self.now()) else None

    def find(self, collection: str, keys: Sequence[str]) -> list[Record]:
        if not keys:
            return []
        with self._errors():
            texts = self._client.hmget(self._hash[collection], keys)
        now = self.now()
        pairs = zip(keys, texts, strict=True)
        parsed = (self._parsed(collection, key, text) for key, text in pairs if text is not None)
        return [record for record in parsed if is_live(record, now)]

    def find_rows(self, bulk: str, keys: Sequence[str]) -> Rows:
        if not keys:
            return {}
        with self._errors():
            # an id is never used again: rows that are there afterwards were there
            texts, there = (
                self._client.pipeline(transaction=False)
                .hmget(self._bulk + bulk, keys)
                .exists(self._bulk + bulk)
                .execute()
            )
        if not there:
            raise RowsGone(f"{self.address}: the rows {bulk} are not there any more")
        return {key: text for key, text in zip(keys, texts, strict=True) if text is not None}

    def records(self, collection: str) -> list[Record]:
        now = self.now()
        found = self._scan(self._hash[collection])
        parsed = (self._parsed(collection, key, found[key]) for key in sorted(found))
        return [record for record in parsed if is_live(record, now)]

    def apply(self, changes: Sequence[Change], event: Event | None = None) -> int:
        return self.commit(changes, event).version

    def commit(self, changes: Sequence[Change], event: Event | None = None) -> Committed:
        batch.check(changes)
        told = [] if event is None else event_texts(event)
        arguments = compact({**self._settings, "event": told, "changes": [_arguments(c) for c in changes]})
        with self._errors():
            try:
                answer = self._apply(self._keys, [arguments])
            except redis.TimeoutError as error:
                raise StoreError(
                    f"{self.address}: {error}; the change may have been made, look before you repeat it"
                ) from error
        if answer[0] == "ok":
            return Committed(int(answer[1]), float(answer[2]), tuple(map(int, answer[3].split())))
        raise self._refusal(changes, *answer)

    def _refusal(self, changes: Sequence[Change], why: str, what: int | str, stored: str = "") -> StoreError:
        """The error for an answer of the script."""
        if isinstance(what, str):
            limits = self._collections[what]
            if why == "full":
                return StoreFull(f"{self.address}: holds {limits.cap} {what}, no more are allowed")
            return StoreFull(f"{self.address}: {what} hold {limits.all_rows} rows, no more are allowed")
        collection, key, wanted = _name(changes[what])
        if why == "gone":
            return StoreError(f"{self.address}: the staged rows of {collection} {key} are gone: import again")
        if why == "rows":
            limit = self._collections[collection].rows
            return StoreFull(f"{self.address}: {collection} {key}: more than {limit} rows")
        current = self._parsed(collection, key, stored) if stored else None
        version = 0 if current is None else current.version
        return Conflict(f"{collection} {key}: is at version {version}, not {wanted}", current)

    def stage(self, rows: Iterable[tuple[str, str]], ttl: float = 600.0) -> str:
        limit = max(collection.rows for collection in self._collections.values())
        bulk = uuid.uuid4().hex
        key, count, left = self._bulk + bulk, 0, batch.checked_rows(rows)
        try:
            while page := dict(islice(left, PAGE)):
                with self._errors():
                    # MULTI: rows without a TTL that nobody links would stay for ever
                    added, _ = (
                        self._client.pipeline(transaction=True)
                        .hset(key, mapping=page)
                        .pexpire(key, int(ttl * 1000))
                        .execute()
                    )
                count += added
                if count > limit:
                    raise StoreFull(f"{self.address}: more than {limit} rows")
            if not count:
                raise ValueError("no rows")
        except (StoreFull, ValueError):
            with self._errors():
                self._client.unlink(key)
            raise
        return bulk


def _name(change: Change) -> tuple[str, str, int | None]:
    if isinstance(change, Put):
        return change.record.collection, change.record.key, change.if_version
    return change.collection, change.key, change.if_version


def _arguments(change: Change) -> list[Any]:
    """The change as the script takes it."""
    collection, key, if_version = _name(change)
    wanted = -1 if if_version is None else if_version
    if isinstance(change, Delete):
        return ["delete", collection, key, wanted, "", "", ""]
    record = change.record
    expires = "" if record.expires is None else repr(float(record.expires))
    return ["put", collection, key, wanted, dump_body(record), expires, batch.bulk_of(record)]
