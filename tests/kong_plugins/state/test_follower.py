"""The follower: newest snapshot, whatever happens to the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from kong_plugins.state.base import Block, CanaryOverride, Snapshot, StoreError
from kong_plugins.state.follower import Follower, backoff
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.redis import RedisStore
from kong_plugins.state.snapshot import build


def eventually(holds: Callable[[], bool], seconds: float = 5) -> float:
    """Wait until it holds; returns the seconds it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - started


def block(store: Any, value: str) -> None:
    store.add_block(Block("ip", value, "", "", store.now()))


def is_blocked(follower: Follower, value: str) -> bool:
    return follower.snapshot.blocks.match(value, time.time()) is not None


class QuietStore(MemoryStore):
    """A store whose messages are all lost, and that can go away."""

    away = False

    def subscribe(self) -> Any:
        self.version()

        class Never:
            def wait(self, timeout: float) -> bool:
                time.sleep(timeout)
                return False

            def close(self) -> None:
                pass

        return Never()

    def version(self) -> int:
        if self.away:
            raise StoreError("memory://: away")
        return super().version()


def test_start_loads_and_tells(own_redis: Any) -> None:
    store = RedisStore(own_redis.url)
    block(store, "203.0.113.7")
    seen: list[Snapshot] = []
    follower = Follower(store, seen.append)
    assert follower.degraded
    try:
        assert follower.start() is True
        assert not follower.degraded
        assert [snapshot.version for snapshot in seen] == [store.version()]
        assert is_blocked(follower, "203.0.113.7")
    finally:
        follower.stop()
        store.close()


def test_a_change_arrives_by_message_well_within_a_second(own_redis: Any) -> None:
    store, operator = RedisStore(own_redis.url), RedisStore(own_redis.url)
    follower = Follower(store, lambda snapshot: None, poll_seconds=60)
    follower.start()
    try:
        # the thread may still be subscribing: it reads once after that
        block(operator, "203.0.113.1")
        eventually(lambda: is_blocked(follower, "203.0.113.1"))
        time.sleep(0.05)
        block(operator, "203.0.113.2")
        assert eventually(lambda: is_blocked(follower, "203.0.113.2")) < 0.5
        operator.set_canary(CanaryOverride("c", percent=5))
        assert eventually(lambda: "c" in follower.snapshot.canaries) < 0.5
        operator.remove_block("ip", "203.0.113.2")
        assert eventually(lambda: not is_blocked(follower, "203.0.113.2")) < 0.5
    finally:
        follower.stop()
        store.close()
        operator.close()


def test_redis_killed_and_started_again(own_redis: Any) -> None:
    """The last snapshot stays while Redis is away and when it comes back empty; a change ends that."""
    store, operator = RedisStore(own_redis.url), RedisStore(own_redis.url)
    follower = Follower(store, lambda snapshot: None, poll_seconds=0.1)
    block(operator, "203.0.113.1")
    follower.start()
    try:
        kept = follower.snapshot.version
        own_redis.kill()
        eventually(lambda: follower.degraded)
        assert "127.0.0.1" in follower.error
        assert is_blocked(follower, "203.0.113.1")
        own_redis.start()
        eventually(lambda: "went back" in follower.error)
        assert follower.degraded
        assert follower.snapshot.version == kept
        block(operator, "203.0.113.2")
        eventually(lambda: not follower.degraded)
        assert follower.error == ""
        assert is_blocked(follower, "203.0.113.2")
        assert follower.snapshot.version > kept
    finally:
        follower.stop()
        store.close()
        operator.close()


def test_redis_away_at_the_start(own_redis: Any) -> None:
    own_redis.kill()
    store = RedisStore(own_redis.url)
    follower = Follower(store, lambda snapshot: None)
    try:
        assert follower.start() is False
        assert follower.degraded
        assert len(follower.snapshot.blocks) == 0
        own_redis.start()
        eventually(lambda: not follower.degraded)
    finally:
        follower.stop()
        store.close()


def test_a_lost_message_is_found_by_the_poll() -> None:
    store = QuietStore()
    follower = Follower(store, lambda snapshot: None, poll_seconds=0.05)
    follower.start()
    try:
        block(store, "203.0.113.1")
        eventually(lambda: is_blocked(follower, "203.0.113.1"))
    finally:
        follower.stop()


def test_changes_while_the_store_was_away_are_caught_up() -> None:
    store = QuietStore()
    follower = Follower(store, lambda snapshot: None, poll_seconds=0.02)
    follower.start()
    try:
        store.away = True
        eventually(lambda: follower.degraded)
        block(store, "203.0.113.1")
        assert not is_blocked(follower, "203.0.113.1")
        store.away = False
        eventually(lambda: is_blocked(follower, "203.0.113.1"))
        assert not follower.degraded
    finally:
        follower.stop()


def test_an_unreadable_store_keeps_the_last_snapshot(own_redis: Any) -> None:
    store = RedisStore(own_redis.url)
    block(store, "203.0.113.1")
    follower = Follower(store, lambda snapshot: None)
    follower.start()
    try:
        store._client.hset("kgate:v1:{default}:blocks", "ip nonsense", "{}")
        store.set_canary(CanaryOverride("c"))
        eventually(lambda: follower.degraded)
        assert "nonsense" in follower.error
        assert is_blocked(follower, "203.0.113.1")
    finally:
        follower.stop()
        store.close()


def test_stop_ends_the_thread_soon() -> None:
    follower = Follower(MemoryStore(), lambda snapshot: None, poll_seconds=60)
    follower.start()
    started = time.monotonic()
    follower.stop()
    assert time.monotonic() - started < 1
    assert not any(thread.name == "kgate-state" for thread in threading.enumerate())


def test_stop_before_start() -> None:
    Follower(MemoryStore(), lambda snapshot: None).stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_receiver_that_fails_leaves_the_follower_degraded() -> None:
    store = MemoryStore()

    def receive(snapshot: Snapshot) -> None:
        if snapshot.version:
            raise RuntimeError("receiver")

    follower = Follower(store, receive)
    follower.start()
    block(store, "203.0.113.1")
    eventually(lambda: follower.degraded)
    assert "ended" in follower.error
    follower.stop()


def test_an_older_snapshot_never_replaces_a_newer_one() -> None:
    class Lagging(QuietStore):
        """Tells a new version, then answers the read like a replica that lags."""

        lags = False

        def load_snapshot(self) -> Snapshot:
            return build(self.version() - 1, (), ()) if self.lags else super().load_snapshot()

    store = Lagging()
    block(store, "203.0.113.1")
    follower = Follower(store, lambda snapshot: None, poll_seconds=0.02)
    follower.start()
    try:
        store.lags = True
        block(store, "203.0.113.2")
        eventually(lambda: follower.degraded)
        assert is_blocked(follower, "203.0.113.1")
        store.lags = False
        eventually(lambda: is_blocked(follower, "203.0.113.2"))
    finally:
        follower.stop()


@pytest.mark.parametrize(
    ("attempt", "roll", "seconds"),
    [(1, 0.0, 0.1), (1, 1.0, 0.05), (2, 0.0, 0.2), (5, 0.0, 1.6), (6, 0.0, 2.0), (10_000, 0.0, 2.0)],
)
def test_backoff(attempt: int, roll: float, seconds: float) -> None:
    assert backoff(attempt, roll) == pytest.approx(seconds)
