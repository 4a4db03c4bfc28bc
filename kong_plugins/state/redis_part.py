"""What the parts of the Redis store share: the connection, the names of keys, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import redis

from kong_plugins.state import scripts
from kong_plugins.state.base import StoreAway, StoreError
from kong_plugins.state.collections import COLLECTIONS, MAX_EVENTS, MAX_LOG, Collection
from kong_plugins.state.connection import connect, display_address, error_text, key_prefix
from kong_plugins.state.records import Record, load_record

PAGE = 2_000
"""Entries of one HSET."""
SCAN_PAGE = 500
"""Entries of one HSCAN: 0.4 ms, in which Redis answers nobody else."""


class RedisPart:
    """One connection pool and namespace; see `RedisStore`."""

    def __init__(
        self,
        url: str,
        namespace: str = "default",
        ca_file: str | None = None,
        collections: Mapping[str, Collection] = COLLECTIONS,
        max_log: int = MAX_LOG,
        max_events: int = MAX_EVENTS,
    ) -> None:
        prefix = self._prefix = key_prefix(namespace)
        self.address = display_address(url)
        self._client = connect(url, ca_file)
        self._collections = collections
        self._hash = {name: prefix + name for name in COLLECTIONS}
        self._version, self._log = prefix + "version", prefix + "log"
        self._events, self._bulk, self._channel = prefix + "events", prefix + "bulk:", prefix + "changed"
        self._keys = [self._version, self._log, self._events, prefix + "expiry", prefix + "links"]
        self._keys += self._hash.values()
        self._max_events = max_events
        self._settings = {
            "channel": self._channel,
            "bulk": self._bulk,
            "max_log": max_log,
            "max_events": max_events,
            "collections": [
                [name, limits.cap, limits.rows, limits.all_rows] for name, limits in collections.items()
            ],
        }
        self._apply = self._client.register_script(scripts.source("apply"))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Our own errors for Redis's."""
        try:
            yield
        except (redis.RedisError, OSError) as error:
            away = isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError))
            away = away and not isinstance(error, redis.AuthenticationError)
            raise (StoreAway if away else StoreError)(f"{self.address}: {error_text(error)}") from error

    def _parsed(self, collection: str, key: str, text: str) -> Record:
        try:
            return load_record(collection, key, text)
        except ValueError as error:
            raise StoreError(f"{self.address}: {error}") from error

    def now(self) -> float:
        with self._errors():
            seconds, microseconds = self._client.time()
            return float(f"{seconds}.{microseconds:06d}")

    def close(self) -> None:
        self._client.close()
