"""One holder at a time, in each of the places where a lock may lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from decl.admin import AdminClient
from decl.apply_db import StoppedError
from decl.lock import Backend, FileLock, Grant, HeldError, Lease, RedisLock, TagLock
from tests.decl.db_node import db_node
from tests.redis_server import RedisServer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def admin() -> Iterator[AdminClient]:
    with db_node() as node, AdminClient(node.admin) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["redis", "tag", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Backend]]:
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        client = redis.Redis.from_url(server.url)
        key = f"lock:{request.node.name}"
        yield lambda: RedisLock(client, key)
        client.close()
    elif request.param == "tag":
        node = request.getfixturevalue("admin")
        yield lambda: TagLock(node, clock)
        node.send("DELETE", "/upstreams/kgate-lock")
    else:
        yield lambda: FileLock(tmp_path / "one.lock")


def test_the_second_is_told_who_holds_it(make: Callable[[], Backend], clock: Clock) -> None:
    with Lease(make(), "kim@host pid 1", 60, clock) as first:
        with pytest.raises(HeldError, match="kim@host pid 1"):
            Lease(make(), "lee", 60, clock)
        first.check()
    with Lease(make(), "lee", 60, clock) as second:
        assert second.fence > first.fence


def test_a_renewed_lease_goes_on(make: Callable[[], Backend], clock: Clock) -> None:
    with Lease(make(), "kim", 60, clock) as lease:
        for _ in range(5):
            clock.now += 25
            lease.check()
        with pytest.raises(HeldError):
            make().take("lee", 60)


def test_a_stopped_run_must_not_write_on(admin: AdminClient, clock: Clock) -> None:
    with Lease(TagLock(admin, clock), "kim", 60, clock) as lease:
        clock.now += 100  # it was stopped for longer than its lease
        with Lease(TagLock(admin, clock), "lee", 60, clock) as other:
            assert other.fence == lease.fence + 1
            with pytest.raises(StoppedError, match="the lock was lost"):
                lease.check()
    admin.send("DELETE", "/upstreams/kgate-lock")


def test_the_same_in_redis(redis_server: RedisServer, clock: Clock) -> None:
    client = redis.Redis.from_url(redis_server.url)
    with Lease(RedisLock(client, "lost"), "kim", 60, clock) as lease:
        client.delete("lost")
        with Lease(RedisLock(client, "lost"), "lee", 60, clock) as other:
            clock.now += 30
            with pytest.raises(StoppedError, match="the lock was lost"):
                lease.check()
            assert other.fence == lease.fence + 1
            other.check()
    client.close()


class Away:
    """A backend that cannot be asked any more."""

    def take(self, holder: str, ttl: float) -> Grant:
        return Grant(1, "t")

    def renew(self, grant: Grant, ttl: float) -> bool:
        from decl.blobs import BlobError

        raise BlobError("Redis: away")

    def release(self, grant: Grant) -> None:
        pass


def test_a_lease_that_cannot_be_renewed_holds_to_its_end(clock: Clock) -> None:
    lease = Lease(Away(), "kim", 60, clock)
    clock.now += 40
    lease.check()
    clock.now += 15
    with pytest.raises(StoppedError):
        lease.check()


def test_free_text_in_tags(admin: AdminClient) -> None:
    lock = TagLock(admin)
    grant = lock.take("kim, of a/b\nü", 60)
    with pytest.raises(HeldError, match="kim- of a-b--"):
        lock.take("lee", 60)
    lock.release(grant)
    admin.send("DELETE", "/upstreams/kgate-lock")
