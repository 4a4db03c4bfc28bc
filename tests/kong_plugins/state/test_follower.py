"""The follower: newest snapshot, whatever happens to the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kong_plugins.state import follower as module
from kong_plugins.state.base import Snapshot, StoreError
from kong_plugins.state.build_image import build_image
from kong_plugins.state.deltas import Delta, apply_all
from kong_plugins.state.follower import Built, Follower, backoff, build_here
from kong_plugins.state.image import Image
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations import blocks
from kong_plugins.state.records import Put, Record, StateDump
from kong_plugins.state.redis import RedisStore
from kong_plugins.state.snapshot import snapshot_of, snapshot_of_dump
from tests.pace import within


def eventually(holds: Callable[[], bool], seconds: float = 30) -> float:
    """Wait until it holds; returns the seconds it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - started


class Seen:
    """What a worker has: what was told, put together again."""

    def __init__(self) -> None:
        self.snapshot: Any = None
        self.images: list[int] = []
        self.restarts = 0

    def image(self, built: Built, deltas: list[Delta], _snapshot: Snapshot, restarted: bool) -> None:
        self.images.append(built.image.version)
        self.restarts += restarted
        self.snapshot = apply_all(snapshot_of(built.image), deltas)

    def delta(self, delta: Delta, _snapshot: Snapshot) -> None:
        self.snapshot = delta.applied_to(self.snapshot)

    def blocked(self, *values: str) -> bool:
        return self.snapshot is not None and all(
            self.snapshot.blocks.match(value, time.time()) is not None for value in values
        )


Follow = Callable[..., tuple[Follower, Seen]]


@pytest.fixture
def follow() -> Iterator[Follow]:
    made: list[Follower] = []

    def start(store: Any, **options: Any) -> tuple[Follower, Seen]:
        seen = Seen()
        options.setdefault("build", build_here(store))
        made.append(Follower(store, seen, **options))
        made[-1].start()
        assert made[-1].tried.wait(30)
        return made[-1], seen

    yield start
    for follower in made:
        follower.stop()


def block(store: Any, value: str) -> None:
    blocks.add(store, value, actor="kim")


class Silent:
    """A subscription whose messages are all lost."""

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def close(self) -> None:
        pass


class QuietStore(MemoryStore):
    """A store whose messages are all lost, and that can go away."""

    away = False
    refuses = False

    def subscribe(self) -> Any:
        self.version()
        if self.refuses:
            raise StoreError("memory://: no permission for the channel")
        return Silent()

    def version(self) -> int:
        if self.away:
            raise StoreError("memory://: away")
        return super().version()


def test_it_begins_with_what_is_there(own_redis: Any, follow: Follow) -> None:
    store = RedisStore(own_redis.url)
    block(store, "203.0.113.7")
    follower, seen = follow(store)
    assert (follower.degraded, follower.error, follower.version) == (False, "", store.version())
    assert seen.blocked("203.0.113.7")


def test_changes_arrive_by_message_as_deltas(own_redis: Any, follow: Follow) -> None:
    operator = RedisStore(own_redis.url)
    block(operator, "203.0.113.1")
    _, seen = follow(RedisStore(own_redis.url), poll_seconds=60)
    for number in range(5):
        block(operator, f"198.51.100.{number}")
        assert eventually(lambda value=f"198.51.100.{number}": seen.blocked(value)) < within(0.5)  # type: ignore[misc]
    blocks.remove(operator, "203.0.113.1", actor="kim")
    assert eventually(lambda: not seen.blocked("203.0.113.1")) < within(0.5)
    assert seen.images == [seen.images[0]], "no image for a few changes"


def test_a_lost_message_is_found_by_the_poll(follow: Follow) -> None:
    store = QuietStore()
    _, seen = follow(store, poll_seconds=0.05)
    block(store, "203.0.113.1")
    eventually(lambda: seen.blocked("203.0.113.1"))


def test_where_messages_are_forbidden_the_poll_goes_on_alone(follow: Follow) -> None:
    store = QuietStore()
    store.refuses = True
    follower, seen = follow(store, poll_seconds=0.05)
    block(store, "203.0.113.1")
    eventually(lambda: seen.blocked("203.0.113.1"))
    assert not follower.degraded


def test_redis_killed_and_started_again(
    own_redis: Any, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    """The last snapshot stays while Redis is away and when it comes back empty; a change ends that."""
    operator = RedisStore(own_redis.url)
    block(operator, "203.0.113.1")
    follower, seen = follow(RedisStore(own_redis.url), poll_seconds=0.1)
    kept = follower.version
    own_redis.kill()
    eventually(lambda: follower.degraded)
    assert "127.0.0.1" in follower.error
    own_redis.start()
    eventually(lambda: "went back" in follower.error)
    assert (follower.degraded, follower.version) == (True, kept)
    assert seen.blocked("203.0.113.1")
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1, "one line, however often it was tried"
    block(operator, "203.0.113.2")
    eventually(lambda: not follower.degraded)
    assert seen.blocked("203.0.113.2")
    assert follower.version > kept


def test_what_has_an_end_ends_while_redis_is_away(own_redis: Any, follow: Follow) -> None:
    operator = RedisStore(own_redis.url)
    now = time.time()
    blocks.add(operator, "203.0.113.1", actor="kim", ttl=3600)
    block(operator, "203.0.113.2")
    follower, _ = follow(RedisStore(own_redis.url), poll_seconds=0.1)
    own_redis.kill()
    eventually(lambda: follower.degraded)
    kept = follower.snapshot
    for at, held in ((now + 3500, [True, True]), (now + 3700, [False, True])):
        found = [kept.blocks.match(address, at) for address in ("203.0.113.1", "203.0.113.2")]
        assert [each is not None for each in found] == held


def test_redis_away_at_the_start(own_redis: Any, follow: Follow) -> None:
    own_redis.kill()
    follower, seen = follow(RedisStore(own_redis.url))
    assert (follower.degraded, follower.snapshot, seen.snapshot) == (True, None, None)
    own_redis.start()
    eventually(lambda: not follower.degraded)
    assert seen.snapshot is not None


def test_a_saved_snapshot_counts_until_the_store_answers(follow: Follow) -> None:
    store = QuietStore()
    block(store, "203.0.113.1")
    saved = snapshot_of_dump(store.load())
    block(store, "203.0.113.2")
    store.away = True
    follower, seen = follow(store, poll_seconds=0.02, saved=([], saved))
    assert (follower.degraded, follower.snapshot) == (True, saved)
    seen.snapshot = saved
    store.away = False
    eventually(lambda: seen.blocked("203.0.113.1", "203.0.113.2"))
    assert seen.images == [], "the changes since were enough"


def test_changes_while_the_store_was_away_are_caught_up(follow: Follow) -> None:
    store = QuietStore()
    follower, seen = follow(store, poll_seconds=0.02)
    store.away = True
    eventually(lambda: follower.degraded)
    store.away = False
    for number in range(3):
        block(store, f"203.0.113.{number}")
    eventually(lambda: seen.blocked("203.0.113.0", "203.0.113.1", "203.0.113.2"))
    eventually(lambda: not follower.degraded)


def test_a_gap_in_the_log_reads_everything_anew(follow: Follow) -> None:
    store = QuietStore(max_log=2)
    _, seen = follow(store, poll_seconds=0.3)
    for number in range(20):
        block(store, f"203.0.113.{number}")
    eventually(lambda: seen.blocked(*(f"203.0.113.{number}" for number in range(20))))
    assert seen.images[-1] > 0


def test_many_changes_make_a_new_image_and_none_is_lost(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 5)
    store = MemoryStore()
    block(store, "198.51.100.1")
    slow = build_here(store)
    building, go = threading.Event(), threading.Event()

    def build() -> Built:
        built = slow()
        building.set()
        assert go.wait(50)
        return built

    go.set()
    _, seen = follow(store, build=build, poll_seconds=0.05)
    go.clear()
    building.clear()
    for number in range(8):
        block(store, f"203.0.113.{number}")
    assert building.wait(30)
    # while the image is built, changes go on: they are not in it
    for number in range(8, 12):
        block(store, f"203.0.113.{number}")
    wanted = [f"203.0.113.{number}" for number in range(12)]
    eventually(lambda: seen.blocked(*wanted))
    blocks.remove(store, "203.0.113.0", actor="kim")
    eventually(lambda: not seen.blocked("203.0.113.0"))
    go.set()
    eventually(lambda: len(seen.images) > 1)
    assert seen.blocked(*wanted[1:])
    assert not seen.blocked("203.0.113.0"), "what was changed meanwhile stands above the image"


def test_an_old_overlay_becomes_an_image(follow: Follow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AGE_SECONDS", 0.1)
    store = MemoryStore()
    block(store, "198.51.100.1")
    _, seen = follow(store, poll_seconds=0.05)
    block(store, "203.0.113.1")
    eventually(lambda: len(seen.images) == 2)
    time.sleep(0.3)
    assert len(seen.images) == 2, "without changes there is none"
    assert seen.snapshot.changes == 0


@pytest.mark.parametrize("rows", [3, 12])
def test_imported_sets_and_lists_arrive_with_their_rows(
    rows: int, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows come with the change, many by a new image."""
    monkeypatch.setattr("kong_plugins.state.deltas.MAX_ROWS", 10)
    monkeypatch.setattr("kong_plugins.state.overlay.MAX_ROWS", 10)
    store = MemoryStore()
    block(store, "198.51.100.1")
    _, seen = follow(store, poll_seconds=0.05)
    _stage(store, "sources", "scanners", "blocks", [f"ip 203.0.113.{number}" for number in range(rows)])
    eventually(lambda: seen.blocked("203.0.113.0", f"203.0.113.{rows - 1}"))
    _stage(store, "lists", "staff", "users", [f"user-{number}" for number in range(rows)])
    eventually(lambda: "staff" in seen.snapshot.lists)
    assert seen.snapshot.lists["staff"].has_user("https://a", f"user-{rows - 1}")
    assert (len(seen.images) > 1) == (rows > 10)


def _stage(store: Any, collection: str, name: str, kind: str, rows: list[str]) -> None:
    bulk = store.stage([(row, "") for row in rows])
    store.apply([Put(Record(collection, name, {"kind": kind, "count": len(rows), "bulk": bulk}))])


def test_stop_ends_the_thread_soon(follow: Follow) -> None:
    follower, _ = follow(MemoryStore(), poll_seconds=60)
    started = time.monotonic()
    follower.stop()
    assert time.monotonic() - started < within(1)
    assert not any(thread.name == "kgate-state" for thread in threading.enumerate())


def test_stop_before_start() -> None:
    store = MemoryStore()
    Follower(store, Seen(), build_here(store)).stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_listener_that_fails_leaves_the_follower_degraded() -> None:
    store = MemoryStore()

    class Failing(Seen):
        def delta(self, delta: Delta, _snapshot: Snapshot) -> None:
            raise RuntimeError("listener")

    block(store, "203.0.113.9")
    follower = Follower(store, Failing(), build_here(store))
    follower.start()
    assert follower.tried.wait(30)
    block(store, "203.0.113.1")
    eventually(lambda: not follower.alive)
    assert follower.degraded
    assert "ended" in follower.error


class Back(QuietStore):
    """A store that can go back to an older state, as a replica that takes over."""

    older: StateDump | None = None

    def version(self) -> int:
        return super().version() if self.older is None else self.older.version

    def changes_since(self, version: int) -> Any:
        return super().changes_since(version) if self.older is None else None

    def load(self) -> StateDump:
        return super().load() if self.older is None else self.older


def test_a_store_that_went_back_is_believed_after_a_while(follow: Follow) -> None:
    passed = [0.0]
    store = Back()
    block(store, "203.0.113.1")
    older = store.load()
    block(store, "203.0.113.2")
    follower, seen = follow(store, poll_seconds=0.02, monotonic=lambda: time.monotonic() + passed[0])
    store.older = older
    eventually(lambda: "went back" in follower.error)
    assert seen.blocked("203.0.113.2")
    passed[0] += module.BACK_SECONDS
    eventually(lambda: not follower.degraded)
    assert (seen.blocked("203.0.113.1"), seen.blocked("203.0.113.2")) == (True, False)
    assert seen.restarts == 2


def test_an_empty_store_never_takes_away_what_was_there(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACK_SECONDS", 0.05)
    store = Back()
    block(store, "203.0.113.1")
    follower, seen = follow(store, poll_seconds=0.02)
    store.older = StateDump(0, {}, {})
    eventually(lambda: follower.degraded)
    time.sleep(0.4)
    assert follower.degraded
    assert seen.blocked("203.0.113.1")


def test_a_read_that_lags_never_replaces_a_newer_state(follow: Follow) -> None:
    store = QuietStore(max_log=1)
    block(store, "203.0.113.1")
    old = store.load()
    lags = threading.Event()

    def build() -> Built:
        return Built(Image.open(build_image(old if lags.is_set() else store.load())))

    follower, seen = follow(store, build=build, poll_seconds=0.02)
    lags.set()
    with store._changed:  # nobody reads between the two: their log holds one
        block(store, "203.0.113.2")
        block(store, "203.0.113.3")
    eventually(lambda: follower.degraded)
    assert "went back" in follower.error
    lags.clear()
    eventually(lambda: seen.blocked("203.0.113.1", "203.0.113.2", "203.0.113.3"))


@pytest.mark.parametrize(
    ("attempt", "roll", "seconds"),
    [
        (1, 0.0, 0.1),
        (1, 1.0, 0.05),
        (2, 0.0, 0.2),
        (5, 0.0, 1.6),
        (6, 0.0, 2.0),
        (99, 0.0, 2.0),
        (99, 1.0, 1.0),
    ],
)
def test_backoff_doubles_to_two_seconds_with_jitter(attempt: int, roll: float, seconds: float) -> None:
    assert backoff(attempt, roll) == pytest.approx(seconds)
