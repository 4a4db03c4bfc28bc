"""One contract, two stores: what every ControlStore does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from kong_plugins.state.base import Block, CanaryOverride, Conflict, ControlStore, StoreFull
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.redis import RedisStore

Make = Callable[..., ControlStore]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest, namespace: str) -> Iterator[Make]:
    """Makes the store under test; keyword arguments are its caps."""
    made: list[ControlStore] = []
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url

    def factory(**caps: int) -> ControlStore:
        made.append(MemoryStore(**caps) if request.param == "memory" else RedisStore(url, namespace, **caps))
        return made[-1]

    yield factory
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> ControlStore:
    return make()


def block(
    store: ControlStore, value: str = "203.0.113.7", kind: str = "ip", ttl: float | None = None
) -> Block:
    now = store.now()
    return Block(kind, value, 'scan "login"\u2028', "kim", now, None if ttl is None else now + ttl)


def test_new_store_is_empty(store: ControlStore) -> None:
    assert store.version() == 0
    assert store.list_blocks() == []
    assert store.list_canaries() == []
    assert store.get_canary("x") is None
    snapshot = store.load_snapshot()
    assert (snapshot.version, len(snapshot.blocks), snapshot.canaries) == (0, 0, {})


@pytest.mark.parametrize(
    ("kind", "value", "ip"),
    [
        ("ip", "203.0.113.7", "203.0.113.7"),
        ("ip", "2001:db8::1", "2001:db8:0::1"),
        ("cidr", "203.0.113.0/24", "203.0.113.200"),
        ("cidr", "2001:db8::/32", "2001:db8:ffff::"),
    ],
)
def test_block_is_kept_as_it_was_and_is_in_the_snapshot(
    store: ControlStore, kind: str, value: str, ip: str
) -> None:
    given = block(store, value, kind, ttl=60)
    version = store.add_block(given)
    assert version == store.version() > 0
    assert store.list_blocks() == [given]
    snapshot = store.load_snapshot()
    assert snapshot.version == version
    assert snapshot.blocks.match(ip, store.now()) == given


def test_user_block(store: ControlStore) -> None:
    given = block(store, "https://a.example/|kim lee \u00e9", "user")
    store.add_block(given)
    blocks = store.load_snapshot().blocks
    assert blocks.match_user("https://a.example/", "kim lee \u00e9", store.now()) == given
    assert blocks.match_user("https://b.example/", "kim lee \u00e9", store.now()) is None


def test_adding_again_replaces(store: ControlStore) -> None:
    store.add_block(block(store, ttl=60))
    first = store.version()
    again = block(store)._replace(reason="other")
    assert store.add_block(again) > first
    assert store.list_blocks() == [again]


def test_remove(store: ControlStore) -> None:
    store.add_block(block(store))
    store.add_block(block(store, "203.0.113.8"))
    before = store.version()
    assert store.remove_block("ip", "203.0.113.7") is True
    after = store.version()
    assert after > before
    assert [found.value for found in store.list_blocks()] == ["203.0.113.8"]
    assert store.remove_block("ip", "203.0.113.7") is False
    assert store.version() == after


def test_blocks_end_by_themselves(store: ControlStore) -> None:
    store.add_block(block(store, "203.0.113.1", ttl=-1))
    store.add_block(block(store, "203.0.113.2", ttl=0.5))
    lasting = store.load_snapshot().blocks
    assert [found.value for found in store.list_blocks()] == ["203.0.113.2"]
    assert lasting.match("203.0.113.1", store.now()) is None
    assert lasting.match("203.0.113.2", store.now() + 0.6) is None
    assert store.remove_block("ip", "203.0.113.1") is False


def test_ended_blocks_are_purged_and_do_not_count_for_the_cap(make: Make) -> None:
    store = make(max_blocks=2)
    store.add_block(block(store, "203.0.113.1", ttl=-1))
    store.add_block(block(store, "203.0.113.2"))
    store.add_block(block(store, "203.0.113.3"))
    assert len(store.load_snapshot().blocks) == 2
    version = store.version()
    with pytest.raises(StoreFull, match="holds 2 blocks"):
        store.add_block(block(store, "203.0.113.4"))
    store.add_block(block(store, "203.0.113.3", ttl=9))
    assert store.version() == version + 1


@pytest.mark.parametrize(
    "override",
    [
        CanaryOverride("c", actor="kim", changed=12.5),
        CanaryOverride("c", percent=0.0),
        CanaryOverride("c", percent=33.33, users=frozenset({"a", "i|\u00e9"}), paused=True),
        CanaryOverride("c", users=frozenset()),
    ],
)
def test_canary_is_kept_as_it_was(store: ControlStore, override: CanaryOverride) -> None:
    stored = store.set_canary(override)
    assert stored == override._replace(version=1)
    assert store.get_canary("c") == stored
    assert store.list_canaries() == [stored]
    assert store.load_snapshot().canaries == {"c": stored}


def test_canary_versions_count_changes_of_that_canary(store: ControlStore) -> None:
    assert store.set_canary(CanaryOverride("a", percent=1)).version == 1
    assert store.set_canary(CanaryOverride("b", percent=1)).version == 1
    assert store.set_canary(CanaryOverride("a", percent=2)).version == 2
    assert [override.version for override in store.list_canaries()] == [2, 1]


def test_canary_compare_and_set(store: ControlStore) -> None:
    store.set_canary(CanaryOverride("a", percent=1), if_version=0)
    version = store.version()
    for wrong in (0, 2):
        with pytest.raises(Conflict, match=f"is at version 1, not {wrong}"):
            store.set_canary(CanaryOverride("a", percent=50), if_version=wrong)
    assert store.version() == version
    found = store.get_canary("a")
    assert found is not None
    assert found.percent == 1
    assert store.set_canary(CanaryOverride("a", percent=2), if_version=1).version == 2
    with pytest.raises(Conflict, match="is at version 0, not 1"):
        store.set_canary(CanaryOverride("new"), if_version=1)


def test_compare_and_set_lets_one_of_many_win(store: ControlStore) -> None:
    outcomes: list[str] = []

    def try_it(percent: int) -> None:
        try:
            store.set_canary(CanaryOverride("a", percent=percent), if_version=0)
            outcomes.append("won")
        except Conflict:
            outcomes.append("lost")

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]


def test_canary_cap(make: Make) -> None:
    store = make(max_canaries=1)
    store.set_canary(CanaryOverride("a"))
    with pytest.raises(StoreFull, match="holds 1 canaries"):
        store.set_canary(CanaryOverride("b"))
    store.set_canary(CanaryOverride("a", paused=True))


def test_every_change_is_told_after_it_can_be_read(store: ControlStore, make: Make) -> None:
    changes = store.subscribe()
    try:
        while changes.wait(0.05):
            pass
        for change in (
            lambda: store.add_block(block(store)),
            lambda: store.set_canary(CanaryOverride("a")),
            lambda: store.remove_block("ip", "203.0.113.7"),
        ):
            before = store.version()
            change()
            assert changes.wait(2)
            assert store.version() > before
        assert not changes.wait(0.02)
    finally:
        changes.close()


def test_a_change_wakes_a_waiter(store: ControlStore) -> None:
    changes = store.subscribe()
    changes.wait(0.02)
    timer = threading.Timer(0.05, lambda: store.add_block(block(store)))
    timer.start()
    try:
        assert any(changes.wait(1) for _ in range(3))
    finally:
        timer.join()
        changes.close()
