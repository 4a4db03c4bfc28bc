"""The control state in Redis, shared by all nodes.

Keys, all in one slot of a cluster by the hash tag {NAMESPACE}:

    kgate:v1:{NAMESPACE}:version         number of the last change
    kgate:v1:{NAMESPACE}:blocks          hash "KIND VALUE" -> JSON, at most MAX_BLOCKS
    kgate:v1:{NAMESPACE}:blocks:expiry   sorted set of the blocks that end, by their end
    kgate:v1:{NAMESPACE}:canaries        hash NAME -> VERSION:JSON, at most MAX_CANARIES
    kgate:v1:{NAMESPACE}:changed         channel, tells the new version

The keys have no TTL: a block without end must not vanish. Ended blocks are removed with every change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from kong_plugins.state import records, scripts
from kong_plugins.state.base import (
    MAX_BLOCKS,
    MAX_CANARIES,
    Block,
    CanaryOverride,
    Conflict,
    Snapshot,
    StoreError,
    StoreFull,
)
from kong_plugins.state.blocks import is_live
from kong_plugins.state.snapshot import build

TIMEOUT_SECONDS = 1.0
"""For connecting and for each answer. No request of a client waits for Redis."""

_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def display_address(url: str) -> str:
    """The URL without user, password and query, for messages.

    A password with an unescaped "/" or "?" ends up in the wrong part of the URL: then only the scheme is
    shown.
    """
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{scheme}://..."
    if not rest or "@" in parts.path + parts.query + parts.fragment:
        return f"{scheme}://..." if rest else "(not a URL)"
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class RedisStore:
    """A `ControlStore` in Redis. Safe for several threads.

    url: redis://, rediss:// (TLS) or unix://. namespace separates control states in one Redis. Nothing is
    connected before the first call. Raises ValueError for a URL or namespace that is none.
    """

    def __init__(
        self,
        url: str,
        namespace: str = "default",
        max_blocks: int = MAX_BLOCKS,
        max_canaries: int = MAX_CANARIES,
    ) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"namespace: {namespace!r} is not 1 to 64 letters, digits, '.', '_' or '-'")
        self.address = display_address(url)
        try:
            # Any: redis-py's types do not know that decode_responses makes every answer a str
            self._client: Any = redis.Redis.from_url(
                url,
                socket_connect_timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                # a change must not be made twice, and the caller knows better when to try again
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                decode_responses=True,
                max_connections=16,
            )
        except ValueError as error:
            raise ValueError(f"redis URL {self.address}: {error}") from error
        prefix = f"kgate:v1:{{{namespace}}}:"
        self._version = prefix + "version"
        self._blocks = prefix + "blocks"
        self._canaries = prefix + "canaries"
        self._keys = [self._version, self._blocks, prefix + "blocks:expiry", self._canaries]
        self._channel = prefix + "changed"
        self._max_blocks, self._max_canaries = max_blocks, max_canaries
        self._add_block = self._client.register_script(scripts.source("add_block"))
        self._remove_block = self._client.register_script(scripts.source("remove_block"))
        self._set_canary = self._client.register_script(scripts.source("set_canary"))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Our own errors for Redis's and for records that cannot be read."""
        try:
            yield
        except (redis.RedisError, OSError, ValueError) as error:
            raise StoreError(f"{self.address}: {error}") from error

    def now(self) -> float:
        with self._errors():
            seconds, microseconds = self._client.time()
            return float(seconds) + float(microseconds) / 1e6

    def version(self) -> int:
        with self._errors():
            return int(self._client.get(self._version) or 0)

    def load_snapshot(self) -> Snapshot:
        with self._errors():
            # MULTI/EXEC: the three belong to one version
            version, blocks, canaries = (
                self._client.pipeline(transaction=True)
                .get(self._version)
                .hgetall(self._blocks)
                .hgetall(self._canaries)
                .execute()
            )
            return build(
                int(version or 0),
                [records.load_block(field, text) for field, text in blocks.items()],
                [records.load_canary(name, text) for name, text in canaries.items()],
            )

    def subscribe(self) -> _RedisChanges:
        with self._errors():
            return _RedisChanges(self, self._client.pubsub(ignore_subscribe_messages=True), self._channel)

    def add_block(self, block: Block) -> int:
        with self._errors():
            field = records.block_field(block.kind, block.value)
            expires = "" if block.expires is None else f"{block.expires:.6f}"
            record = records.dump_block(block)
            answer = self._add_block(self._keys, [self._channel, field, record, expires, self._max_blocks])
        if answer[0] == "full":
            raise StoreFull(f"{self.address}: holds {self._max_blocks} blocks, no more are allowed")
        return int(answer[1])

    def remove_block(self, kind: str, value: str) -> bool:
        with self._errors():
            field = records.block_field(kind, value)
            return bool(self._remove_block(self._keys, [self._channel, field]))

    def list_blocks(self) -> list[Block]:
        now = self.now()
        with self._errors():
            found = [records.load_block(*item) for item in self._client.hgetall(self._blocks).items()]
        return sorted(
            (block for block in found if is_live(block, now)), key=lambda block: (block.kind, block.value)
        )

    def set_canary(self, override: CanaryOverride, if_version: int | None = None) -> CanaryOverride:
        with self._errors():
            wanted = "" if if_version is None else if_version
            record = records.dump_canary(override)
            answer = self._set_canary(
                self._keys, [self._channel, override.name, record, wanted, self._max_canaries]
            )
        if answer[0] == "conflict":
            raise Conflict(f"canary {override.name}: is at version {answer[1]}, not {if_version}")
        if answer[0] == "full":
            raise StoreFull(f"{self.address}: holds {self._max_canaries} canaries, no more are allowed")
        return override._replace(version=int(answer[1]))

    def get_canary(self, name: str) -> CanaryOverride | None:
        with self._errors():
            text = self._client.hget(self._canaries, name)
            return None if text is None else records.load_canary(name, text)

    def list_canaries(self) -> list[CanaryOverride]:
        with self._errors():
            found = self._client.hgetall(self._canaries)
            return [records.load_canary(name, found[name]) for name in sorted(found)]

    def close(self) -> None:
        self._client.close()


class _RedisChanges:
    """A subscription to the channel, on a connection of its own."""

    def __init__(self, store: RedisStore, pubsub: Any, channel: str) -> None:
        self._store = store
        self._pubsub = pubsub
        pubsub.subscribe(channel)

    def wait(self, timeout: float) -> bool:
        with self._store._errors():
            return self._pubsub.get_message(timeout=timeout) is not None

    def close(self) -> None:
        self._pubsub.close()
