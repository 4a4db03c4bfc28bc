"""One contract, two stores: what every Store does."""

from __future__ import annotations

import threading

import pytest

from kong_plugins.state.base import Conflict, RowsGone, Store, StoreError, StoreFull
from kong_plugins.state.collections import COLLECTIONS, Collection
from kong_plugins.state.records import (
    MAX_BATCH,
    MAX_RECORD_BYTES,
    NEW_VERSION,
    Change,
    Delete,
    Event,
    Put,
    Record,
)
from tests.kong_plugins.state.stores import Make, make, plain, record, store

__all__ = ["make", "store"]


def event(kind: str = "block.add", **data: object) -> Event:
    return Event("", 0.0, kind, "kim", "ip 203.0.113.7", "why\u2028é", data)


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.version() == 0
    assert store.changes_since(0) == []
    assert store.get("blocks", "ip 203.0.113.7") is None
    assert store.records("blocks") == []
    assert store.events(10) == []
    dump = store.load()
    assert (dump.version, dump.bulk) == (0, {})
    assert dump.records == {name: [] for name in COLLECTIONS}


@pytest.mark.parametrize(
    "given",
    [
        record(),
        record("user https://a/|kim é\U0001f600 lee"),
        record("v2", "canaries", percent=33.33, users=["a", "i|é"], ramp=None, deep={"a": [1, 0.5, True]}),
        record("before https://a", "revocations", issued_before=1795451340.498765),
        record("big", "keys", number=2**60, small=5e-324),
        record("service a:b {c}", "fallbacks", expires=4e9, name=""),
    ],
)
def test_a_record_is_kept_as_it_was(store: Store, given: Record) -> None:
    before = store.now()
    version = store.apply([Put(given)])
    assert version == store.version() > 0
    found = store.get(given.collection, given.key)
    assert found is not None
    assert plain(found) == given
    assert found.version == 1
    assert before <= found.created == found.changed <= store.now()
    assert store.records(given.collection) == [found]
    assert store.find(given.collection, ["other", given.key]) == [found]
    dump = store.load()
    assert dump.version == version
    assert dump.records[given.collection] == [found]


def test_a_change_keeps_created_and_counts(store: Store) -> None:
    store.apply([Put(record())])
    first = store.get("blocks", record().key)
    version = store.version()
    assert store.apply([Put(record()._replace(reason="other"))]) == version + 1
    second = store.get("blocks", record().key)
    assert first is not None
    assert second is not None
    assert (second.version, second.created, second.reason) == (2, first.created, "other")
    assert second.changed >= first.changed
    assert store.apply([Delete("blocks", record().key)]) == version + 2
    assert store.get("blocks", record().key) is None
    store.apply([Put(record())])
    third = store.get("blocks", record().key)
    assert third is not None
    # never a number that it had: who saw the one before must not be taken for one who has seen this
    assert third.version == 3
    with pytest.raises(Conflict, match="is at version 3, not 1"):
        store.apply([Put(record(), 1)])


def test_versions_of_removed_records_are_not_given_again(store: Store) -> None:
    for _ in range(4):
        store.apply([Put(record("a", "canaries"))])
    store.apply([Put(record("b", "canaries", expires=store.now() - 1))])
    store.apply([Delete("canaries", "a")])
    made = store.commit(
        [Put(record("a", "canaries")), Delete("canaries", "b"), Put(record("ip 203.0.113.1"))],
        event(after={"version": NEW_VERSION, "data": {}}),
    )
    assert made.versions == (5, 0, 1)
    assert store.events(1)[0].data == {"after": {"version": 5, "data": {}}}


def test_nothing_to_delete_is_no_change(store: Store) -> None:
    store.apply([Put(record())])
    version = store.version()
    assert store.apply([Delete("blocks", "ip 203.0.113.8")], event()) == version
    assert (store.version(), store.events(9)) == (version, [])


def test_the_log_tells_every_change(store: Store) -> None:
    first = store.apply([Put(record("a", "canaries"))])
    store.apply([Put(record("b", "canaries")), Delete("canaries", "a"), Delete("canaries", "none")])
    store.apply([Put(record("b", "canaries", n=2))])
    (one, two), (b, b_again) = store.changes_since(first) or [], store.records("canaries") * 2
    assert one == (
        first + 1,
        [Put(b._replace(version=1, data={}, changed=b.created)), Delete("canaries", "a")],
    )
    assert two == (first + 2, [Put(b_again)])
    assert store.changes_since(first + 2) == []
    # before the first change: unknown, as after the loss of all data
    assert store.changes_since(0) is None
    assert store.changes_since(first + 3) is None
    assert store.changes_since(first - 1) is not None


@pytest.mark.parametrize("wrong", [0, 2])
def test_compare_and_set(store: Store, wrong: int) -> None:
    version = store.apply([Put(record("a", "canaries", percent=1), 0)])
    for change in (Put(record("a", "canaries", percent=50), wrong), Delete("canaries", "a", wrong)):
        with pytest.raises(Conflict, match=f"canaries a: is at version 1, not {wrong}") as caught:
            store.apply([Put(record("other", "canaries")), change], event())
        assert caught.value.current == store.get("canaries", "a")
        assert caught.value.current is not None
        assert caught.value.current.data == {"percent": 1}
    with pytest.raises(Conflict, match="canaries new: is at version 0, not 1") as caught:
        store.apply([Put(record("new", "canaries"), 1)])
    assert caught.value.current is None
    assert (store.version(), store.events(9)) == (version, [])
    assert [held.key for held in store.records("canaries")] == ["a"]
    store.apply([Put(record("a", "canaries", percent=2), 1)])
    store.apply([Delete("canaries", "a", 2)])


def test_compare_and_set_lets_one_of_many_win(store: Store) -> None:
    outcomes: list[str] = []

    def try_it(percent: int) -> None:
        try:
            store.apply([Put(record("a", "canaries", percent=percent), 0)], event())
            outcomes.append("won")
        except Conflict:
            outcomes.append("lost")

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert len(store.events(9)) == 1


def test_records_end_by_themselves(store: Store) -> None:
    now = store.now()
    store.apply(
        [
            Put(record("ip 203.0.113.1", expires=now - 1)),
            Put(record("ip 203.0.113.2", expires=now + 600)),
            Put(record("ip 203.0.113.3")),
        ]
    )
    assert store.get("blocks", "ip 203.0.113.1") is None
    assert [held.key for held in store.records("blocks")] == ["ip 203.0.113.2", "ip 203.0.113.3"]
    assert {held.key for held in store.load().records["blocks"]} == {"ip 203.0.113.2", "ip 203.0.113.3"}
    # one that has ended is not there: it does not lose a race, and what comes in its place is no change of it
    store.apply([Put(record("ip 203.0.113.1"), 0)])
    found = store.get("blocks", "ip 203.0.113.1")
    assert found is not None
    assert found.version == 2


def test_renewing_without_an_end_lasts(store: Store) -> None:
    now = store.now()
    store.apply([Put(record(expires=now + 0.05))])
    store.apply([Put(record())])
    while store.now() < now + 0.06:
        pass
    store.apply([Put(record("ip 203.0.113.9"))])
    assert len(store.records("blocks")) == 2


def test_caps(make: Make) -> None:
    store = make(blocks=Collection(2))
    store.apply([Put(record("ip 203.0.113.1", expires=store.now() - 1))])
    store.apply([Put(record("ip 203.0.113.2")), Put(record("ip 203.0.113.3"))])
    version = store.version()
    with pytest.raises(StoreFull, match="holds 2 blocks"):
        store.apply([Put(record("c", "canaries")), Put(record("ip 203.0.113.4"))], event())
    assert store.version() == version
    assert store.records("canaries") == []
    store.apply([Put(record("ip 203.0.113.3", expires=4e9))])
    store.apply([Put(record("ip 203.0.113.4")), Delete("blocks", "ip 203.0.113.2")])
    assert [held.key for held in store.records("blocks")] == ["ip 203.0.113.3", "ip 203.0.113.4"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([Put(record("a", "nonsense"))], "collection 'nonsense'"),
        ([Put(record(""))], "a key is"),
        ([Put(record("a\nb"))], "a key is"),
        ([Put(record("a\ud800"))], "a key is"),
        ([Put(record("a" * 1201))], "a key is"),
        ([Put(record("a")), Delete("blocks", "a")], "twice"),
        ([Put(record("a", n=float("nan")))], "JSON"),
        ([Put(record("a", n=object()))], "JSON"),
        ([Put(record("a", expires=float("inf")))], "JSON"),
        ([Put(record("a", text="x" * MAX_RECORD_BYTES))], "bytes are more than"),
        ([Put(record("a", "sources"))], "data.bulk"),
        ([Put(record("a", "lists", bulk="x"))], "data.bulk"),
        ([Put(record(key, "lists", bulk="0" * 32)) for key in "ab"], "same rows"),
        ([Put(record(f"ip {n}")) for n in range(MAX_BATCH + 1)], "more than 100"),
    ],
)
def test_what_can_never_be_stored(store: Store, changes: list[Change], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        store.apply(changes, event())
    assert (store.version(), store.events(9)) == (0, [])


def test_events_are_written_with_the_change(store: Store) -> None:
    before = store.now()
    store.apply([Put(record())], event(ttl=60))
    store.apply([], event("note.made"))
    alone = store.append(event("breaker.open", rate=0.5))
    one, two, three = store.events(9)
    assert one == event(ttl=60)._replace(id=one.id, time=one.time)
    assert before - 0.001 <= one.time <= two.time <= three.time <= store.now()
    assert (two.kind, three.kind, three.data, three.id) == ("note.made", "breaker.open", {"rate": 0.5}, alone)
    assert store.events(2) == [two, three]
    assert store.events(0) == []
    assert store.events(9, after_id=one.id) == [two, three]
    assert store.events(1, after_id=one.id) == [two]
    assert store.events(9, after_id=three.id) == []
    assert len(store.changes_since(store.version() - 1) or []) == 1


def test_events_are_capped(make: Make) -> None:
    store = make(max_events=10)
    for number in range(300):
        store.append(event("x.y", n=number))
    kept = store.events(1000)
    # Redis cuts whole nodes of its stream
    assert 10 <= len(kept) < 210
    assert kept[-1].data == {"n": 299}


def test_waiting_for_events(store: Store) -> None:
    assert store.wait(None, 0.02) == []
    first = store.append(event("a.a"))
    assert [found.kind for found in store.wait("0-0", 0)] == ["a.a"]
    timer = threading.Timer(0.05, lambda: store.append(event("b.b")))
    timer.start()
    assert [found.kind for found in store.wait(first, 30)] == ["b.b"]
    timer.join()
    done = threading.Event()

    def again() -> None:  # one that comes before the wait has begun is none of those that it tells
        while not done.wait(0.05):
            store.append(event("c.c"))

    thread = threading.Thread(target=again)
    thread.start()
    try:
        assert {found.kind for found in store.wait(None, 30)} == {"c.c"}
    finally:
        done.set()
        thread.join()


def test_every_change_is_told_after_it_can_be_read(store: Store) -> None:
    changes = store.subscribe()
    try:
        while changes.wait(0.05):
            pass
        for change in (Put(record()), Put(record("c", "canaries")), Delete("blocks", record().key)):
            before = store.version()
            store.apply([change])
            assert changes.wait(30)
            assert store.version() > before
        store.append(event())
        assert not changes.wait(0.02)
    finally:
        changes.close()


def test_a_change_wakes_a_waiter(store: Store) -> None:
    changes = store.subscribe()
    changes.wait(0.02)
    timer = threading.Timer(0.05, lambda: store.apply([Put(record())]))
    timer.start()
    try:
        assert any(changes.wait(10) for _ in range(3))
    finally:
        timer.join()
        changes.close()


# rows


def linked(name: str, bulk: str, collection: str = "sources") -> Put:
    return Put(record(name, collection, kind="blocks", count=1, bulk=bulk))


def test_staged_rows_are_seen_when_they_are_linked(store: Store) -> None:
    rows = {f"ip 203.0.113.{n}": "" for n in range(20)} | {"user é|b c": '{"reason":"x"}'}
    bulk = store.stage(rows.items())
    assert (store.version(), store.load().bulk, store.load().records["sources"]) == (0, {}, [])
    version = store.apply([linked("feed", bulk)], event("block.import"))
    dump = store.load()
    assert (dump.version, dump.bulk) == (version, {bulk: rows})
    assert store.rows(bulk) == rows
    assert store.find_rows(bulk, ["ip 203.0.113.7", "ip 9.9.9.9", "user é|b c"]) == {
        "ip 203.0.113.7": "",
        "user é|b c": '{"reason":"x"}',
    }
    # the same rows with another reason, then other rows in their place, then none
    store.apply([linked("feed", bulk)])
    assert store.rows(bulk) == rows
    other = store.stage([("ip 203.0.113.99", "")])
    store.apply([linked("feed", other)])
    assert store.load().bulk == {other: {"ip 203.0.113.99": ""}}
    with pytest.raises(RowsGone, match="not there any more"):
        store.rows(bulk)
    with pytest.raises(RowsGone, match="not there any more"):
        store.find_rows(bulk, ["ip 203.0.113.7"])
    store.apply([Delete("sources", "feed")])
    assert store.load().bulk == {}
    with pytest.raises(RowsGone, match="not there any more"):
        store.rows(other)


def test_rows_end_with_their_record(store: Store) -> None:
    bulk = store.stage([("ip 203.0.113.1", "")])
    change = linked("feed", bulk)
    now = store.now()
    store.apply([change._replace(record=change.record._replace(expires=now + 0.05))])
    while store.now() < now + 0.06:
        pass
    assert store.load().bulk == {}
    store.apply([Put(record())])
    with pytest.raises(RowsGone, match="not there any more"):
        store.rows(bulk)


@pytest.mark.parametrize("how", ["never staged", "of another record", "staging ended"])
def test_rows_that_cannot_be_linked(store: Store, how: str) -> None:
    bulk = "0" * 32 if how == "never staged" else store.stage([("a", "")], ttl=0.01 if "ended" in how else 60)
    if how == "of another record":
        store.apply([linked("first", bulk)])
    now = store.now()
    while store.now() < now + 0.02:
        pass
    version = store.version()
    with pytest.raises(StoreError, match="staged rows of sources second are gone"):
        store.apply([Put(record()), linked("second", bulk)])
    assert store.version() == version
    assert store.records("blocks") == []


def test_caps_of_rows(make: Make) -> None:
    store = make(sources=Collection(10, rows=3, all_rows=5), lists=Collection(10, rows=4, all_rows=100))
    with pytest.raises(StoreFull, match="more than 4 rows"):
        store.stage((str(n), "") for n in range(5))
    four = store.stage((str(n), "") for n in range(4))
    with pytest.raises(StoreFull, match="sources a: more than 3 rows"):
        store.apply([linked("a", four)])
    store.apply([linked("a", four, "lists")])
    three, two, more = (store.stage((str(n), "") for n in range(count)) for count in (3, 2, 3))
    store.apply([linked("a", three)])
    store.apply([linked("b", two)])
    with pytest.raises(StoreFull, match="sources hold 5 rows"):
        store.apply([linked("b", more)])
    store.apply([linked("b", more), Delete("sources", "a")])
    assert {len(rows) for rows in store.load().bulk.values()} == {3, 4}


@pytest.mark.parametrize(
    ("rows", "says"),
    [([], "no rows"), ([("a\n", "")], "row 'a"), ([("a", ""), ("b", "x")], "no JSON object")],
)
def test_rows_that_can_never_be_stored(store: Store, rows: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        store.stage(rows)
