"""Random batches given to both stores: the same state, log, audit log and refusals."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from kong_plugins.state.base import Conflict, Store, StoreError
from kong_plugins.state.collections import COLLECTIONS, Collection
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.records import Change, Delete, Event, Put, Record
from kong_plugins.state.redis import RedisStore

CAPS = {
    **COLLECTIONS,
    "blocks": Collection(3),
    "canaries": Collection(2),
    "sources": Collection(3, rows=3, all_rows=5),
    "lists": Collection(2, rows=4, all_rows=100),
}
PLAIN = ("blocks", "canaries", "revocations")
KEYS = st.sampled_from(["a", "b é", "c\U0001f600", "d e f"])
# what has ended, ends far away or never: the two stores have different clocks
ENDS = st.sampled_from([None, None, 1.5, 4e9])
VERSIONS = st.sampled_from([None, None, None, 0, 1, 2])
DATA = st.dictionaries(
    st.sampled_from("xyz"),
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
)

puts = st.builds(
    lambda collection, key, data, end, version: (
        Put(Record(collection, key, data, actor="kim", expires=end), version),
        None,
    ),
    st.sampled_from(PLAIN),
    KEYS,
    DATA,
    ENDS,
    VERSIONS,
)
deletes = st.builds(
    lambda collection, key, version: (Delete(collection, key, version), None),
    st.sampled_from((*PLAIN, "sources", "lists")),
    KEYS,
    VERSIONS,
)
links = st.builds(
    lambda collection, key, staged, end, version: (
        Put(Record(collection, key, {"bulk": ""}, expires=end), version),
        staged,
    ),
    st.sampled_from(("sources", "lists")),
    KEYS,
    st.integers(0, 9),
    ENDS,
    VERSIONS,
)


class Agreement(RuleBasedStateMachine):
    """The same is done to both; afterwards both say the same."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.stores: tuple[Store, Store] = (
            MemoryStore(collections=CAPS),
            RedisStore(self.url, f"h{uuid.uuid4().hex}", collections=CAPS),
        )
        self.first: tuple[int, int] | None = None
        self.staged: list[tuple[str, str]] = []

    def teardown(self) -> None:
        self.stores[1].close()

    @initialize(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=2))
    def begin(self, sizes: list[int]) -> None:
        for size in (1, *sizes):
            self.stage(size)

    @rule(size=st.integers(1, 4))
    def stage(self, size: int) -> None:
        rows = [(f"ip 203.0.113.{number}", "") for number in range(size)]
        ids = []
        for store in self.stores:
            try:
                ids.append(store.stage(rows))
            except StoreError as error:
                ids.append(type(error).__name__)
        if size <= 4:
            self.staged.append((ids[0], ids[1]))
        else:
            assert ids == ["StoreFull", "StoreFull"]

    @rule(
        batch=st.lists(
            st.one_of(puts, deletes, links),
            max_size=5,
            unique_by=lambda item: item[0].record[:2] if isinstance(item[0], Put) else item[0][:2],
        ),
        told=st.booleans(),
    )
    def change(self, batch: list[tuple[Change, int | None]], told: bool) -> None:
        event = Event("", 0.0, "x.y", "kim", "é", "", {"n": len(batch)}) if told else None
        outcomes: list[Any] = []
        for number, store in enumerate(self.stores):
            changes = [self.bound(change, staged, number) for change, staged in batch]
            before = store.version()
            try:
                outcomes.append(("done", store.apply(changes, event) > before))
            except Conflict as error:
                current = error.current
                outcomes.append((str(error), None if current is None else self.view(number, current)))
            except ValueError as error:
                outcomes.append(("never", str(error)))
            except StoreError as error:
                outcomes.append((type(error).__name__, str(error).replace(store.address, "")))
        assert outcomes[0] == outcomes[1]
        if self.first is None and all(store.version() for store in self.stores):
            self.first = (self.stores[0].version(), self.stores[1].version())

    def bound(self, change: Change, staged: int | None, number: int) -> Change:
        if staged is None or not isinstance(change, Put):
            return change
        bulk = self.staged[staged % len(self.staged)][number]
        return change._replace(record=change.record._replace(data={"bulk": bulk}))

    def view(self, number: int, record: Record) -> Record:
        """The record without times, and with the number of its rows' staging in place of their id."""
        assert record.created <= record.changed
        data = dict(record.data)
        if "bulk" in data:
            data["bulk"] = [pair[number] for pair in self.staged].index(data["bulk"])
        return record._replace(created=0.0, changed=0.0, data=data)

    @invariant()
    def agree(self) -> None:
        views = []
        for number, store in enumerate(self.stores):
            first = self.first[number] if self.first else 0
            dump = store.load()
            state = {
                name: sorted((self.view(number, record) for record in held), key=lambda record: record.key)
                for name, held in dump.records.items()
            }
            for name, held in dump.records.items():
                assert {record.key for record in store.records(name)} == {record.key for record in held}
            ids = [pair[number] for pair in self.staged]
            bulk = {ids.index(bulk): dict(rows) for bulk, rows in dump.bulk.items()}
            logged = store.changes_since(first)
            assert logged is not None
            log = [
                (version - first, [self.logged(number, change) for change in made])
                for version, made in logged
            ]
            events = [event._replace(id="", time=0.0) for event in store.events(1000)]
            views.append((dump.version - first, state, bulk, log, events))
        assert views[0] == views[1]

    def logged(self, number: int, change: Change) -> Change:
        return Put(self.view(number, change.record)) if isinstance(change, Put) else change


@pytest.mark.timeout(120)
def test_random_batches_make_the_same_of_both_stores(redis_server: Any) -> None:
    Agreement.url = redis_server.url
    run_state_machine_as_test(
        Agreement,
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            # every step asks a server: a failure is shown as it was found
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
