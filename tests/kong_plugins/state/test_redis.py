"""What only the Redis store has: its keys, its errors, its URL."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from kong_plugins.state.base import Block, CanaryOverride, StoreError
from kong_plugins.state.open import open_store
from kong_plugins.state.redis import RedisStore, display_address


@pytest.fixture
def store(redis_server: Any, namespace: str) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, namespace)
    yield made
    made.close()


@pytest.fixture
def client(redis_server: Any) -> Iterator[Any]:
    made = redis.Redis.from_url(redis_server.url, decode_responses=True)
    yield made
    made.close()


def test_keys_are_versioned_and_in_one_slot(store: RedisStore, client: Any, namespace: str) -> None:
    now = store.now()
    store.add_block(Block("ip", "203.0.113.7", "", "", now, now + 60))
    store.set_canary(CanaryOverride("c"))
    keys = sorted(client.scan_iter(match=f"*{namespace}*"))
    assert keys == [
        f"kgate:v1:{{{namespace}}}:{name}" for name in ("blocks", "blocks:expiry", "canaries", "version")
    ]


def test_namespaces_are_apart(store: RedisStore, redis_server: Any) -> None:
    store.add_block(Block("ip", "203.0.113.7", "", "", 0))
    other = RedisStore(redis_server.url, "other")
    assert other.list_blocks() == []
    other.close()


def test_ended_blocks_leave_redis(store: RedisStore, client: Any, namespace: str) -> None:
    now = store.now()
    for number in range(5):
        store.add_block(Block("ip", f"203.0.113.{number}", "", "", now, now - 1))
    store.add_block(Block("ip", "203.0.113.99", "", "", now))
    assert client.hkeys(f"kgate:v1:{{{namespace}}}:blocks") == ["ip 203.0.113.99"]
    assert client.zcard(f"kgate:v1:{{{namespace}}}:blocks:expiry") == 0


def test_the_expiry_of_a_block_goes_with_it(store: RedisStore, client: Any, namespace: str) -> None:
    """Else a block that was renewed without end would be purged at its old end."""
    expiry = f"kgate:v1:{{{namespace}}}:blocks:expiry"
    ending = Block("ip", "203.0.113.7", "", "", 0.0, store.now() + 60)
    store.add_block(ending)
    assert client.zrange(expiry, 0, -1) == ["ip 203.0.113.7"]
    store.add_block(ending._replace(expires=None))
    assert client.zcard(expiry) == 0
    store.add_block(ending)
    store.remove_block("ip", "203.0.113.7")
    assert client.zcard(expiry) == 0


def test_a_store_that_lost_its_data_starts_above_every_earlier_version(
    store: RedisStore, client: Any, namespace: str
) -> None:
    for _ in range(3):
        last = store.set_canary(CanaryOverride("c"))
    before = store.version()
    assert last.version == 3
    client.delete(f"kgate:v1:{{{namespace}}}:version")
    time.sleep(0.005)  # the clock of Redis: 3 changes take less than 3 ms
    store.set_canary(CanaryOverride("c"))
    assert store.version() > before


@pytest.mark.parametrize(
    ("key", "field", "text"),
    [
        ("blocks", "ip 1.2.3.4", "not json"),
        ("blocks", "ip 1.2.3.4", '{"reason":"","actor":"","created":1}'),
        ("blocks", "ip 1.2.3.4", "[]"),
        ("blocks", "ip 01.2.3.4", '{"reason":"","actor":"","created":1,"expires":null}'),
        ("blocks", "asn 1", '{"reason":"","actor":"","created":1,"expires":null}'),
        ("canaries", "c", "{}"),
        ("canaries", "c", '1:{"percent":"x","users":null,"paused":false,"actor":"","changed":0}'),
    ],
)
def test_a_record_that_cannot_be_read_is_an_error_that_names_it(
    store: RedisStore, client: Any, namespace: str, key: str, field: str, text: str
) -> None:
    client.hset(f"kgate:v1:{{{namespace}}}:{key}", field, text)
    with pytest.raises(StoreError) as caught:
        store.load_snapshot()
    assert field in str(caught.value)


def test_fields_of_a_newer_kgate_are_ignored(store: RedisStore, client: Any, namespace: str) -> None:
    record = '{"reason":"r","actor":"a","created":1,"expires":null,"simulated":true}'
    client.hset(f"kgate:v1:{{{namespace}}}:blocks", "ip 1.2.3.4", record)
    assert store.list_blocks() == [Block("ip", "1.2.3.4", "r", "a", 1.0)]


def test_nothing_listens(unused_port: int) -> None:
    store = RedisStore(f"redis://:secret@127.0.0.1:{unused_port}/0")
    with pytest.raises(StoreError) as caught:
        store.version()
    assert f"redis://127.0.0.1:{unused_port}/0" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError):
        store.subscribe()


def test_a_redis_that_hangs_costs_about_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        with pytest.raises(StoreError):
            store.now()
        assert time.monotonic() - started < 1.8
        store.close()


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://kim:secret@redis.example:6380/1?ssl_cert_reqs=none", "rediss://redis.example:6380/1"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("redis://host/0?password=secr@et", "redis://..."),
        ("redis://:se/cret@host/0", "redis://..."),
        ("redis://:se?cret@host/0", "redis://..."),
        ("redis://:se#cret@host/0", "redis://..."),
        ("redis://[secret", "redis://..."),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("secret", "(not a URL)"),
    ],
)
def test_messages_show_the_address_without_the_password(url: str, shown: str) -> None:
    assert display_address(url) == shown
    assert "secret" not in display_address(url)


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://localhost", "redis://host:port/0", "redis://[x"]
)
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="redis URL"):
        open_store(url)


@pytest.mark.parametrize("name", ["", "a b", "a}", "{a}", "x" * 65])
def test_wrong_namespaces(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        open_store("redis://127.0.0.1/0", name)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, "memory://"),
        ("memory://", "memory://"),
        ("redis://h/0", "redis://h/0"),
        ("rediss://h/0", "rediss://h/0"),
    ],
)
def test_open_store_chooses_by_url(url: str | None, address: str) -> None:
    assert open_store(url).address == address
