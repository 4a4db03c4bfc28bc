"""Nothing runs before what it needs, whatever the graph and however many threads there are."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decl.change import Change
from decl.graph import dependencies, reversed_needs, run
from decl.render import PROTECTED_TAG
from decl.stages import stages


@st.composite
def graphs(draw: st.DrawFn) -> list[set[int]]:
    """Each node needs some of those before it."""
    count = draw(st.integers(0, 12))
    return [
        draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set() for number in range(count)
    ]


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(1, 6))
def test_what_is_needed_comes_first(needs: list[set[int]], workers: int) -> None:
    done: list[int] = []
    mutex = threading.Lock()

    def do(number: int) -> bool:
        with mutex:
            assert needs[number] <= set(done)
            done.append(number)
        return True

    run(needs, do, workers)
    assert sorted(done) == list(range(len(needs)))


@settings(max_examples=40, deadline=None)
@given(graphs(), st.integers(0, 11))
def test_nothing_follows_a_failure(needs: list[set[int]], bad: int) -> None:
    done: list[int] = []
    run(needs, lambda number: done.append(number) is None and number != bad, 1)
    if bad in done:
        assert done[-1] == bad


def test_an_error_is_raised_in_the_callers_thread() -> None:
    def do(number: int) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([set(), set()], do, 2)


def test_a_circle_is_not_started() -> None:
    done: list[int] = []
    run([{1}, {0}, set()], lambda number: done.append(number) is None, 2)
    assert done == [2]


def create(kind: str, entity_id: str, **fields: object) -> Change:
    return Change("create", kind, entity_id, entity_id, {"id": entity_id, **fields})


def delete(kind: str, entity_id: str, **fields: object) -> Change:
    return Change("delete", kind, entity_id, entity_id, None, {"id": entity_id, **fields})


def update(kind: str, entity_id: str, before: dict[str, object], after: dict[str, object]) -> Change:
    return Change(
        "update", kind, entity_id, entity_id, {"id": entity_id, **after}, {"id": entity_id, **before}
    )


def test_parents_before_children_and_the_reverse_for_deletes() -> None:
    of = {"service": {"id": "s"}}
    assert dependencies([create("routes", "r", **of), create("services", "s")]) == [{1}, set()]
    assert dependencies([delete("services", "s"), delete("routes", "r", **of)]) == [{1}, set()]
    moved = update("routes", "r", of, {"service": {"id": "t"}})
    assert dependencies([delete("services", "s"), moved, create("services", "t")]) == [{1}, {2}, set()]
    assert reversed_needs([{1}, {2}, set()]) == [set(), {0}, {1}]


def test_a_unique_name_is_given_away_first() -> None:
    changes = [
        create("services", "b", name="x"),
        update("services", "a", {"name": "x"}, {"name": "y"}),
        delete("upstreams", "u", name="x"),
    ]
    assert dependencies(changes) == [{1}, set(), set()]


def test_the_order_of_protection() -> None:
    guard = create("plugins", "g", name="kgate")
    passport = create("plugins", "p", name="passport", service={"id": "s"})
    route = create("routes", "r", name="r", tags=[PROTECTED_TAG])
    removed = delete("plugins", "old", name="passport", service={"id": "s2"})
    opened = update("routes", "o", {"tags": [PROTECTED_TAG]}, {"tags": []})
    found = stages([opened, removed, route, passport, guard])
    assert [(stage.name, stage.after_adapter) for stage in found] == [
        ("adapter", False),
        ("entities", True),
        ("removals", False),
        ("default deny", False),
    ]
    assert [[change.id for change in stage.changes] for stage in found] == [["g"], ["r", "p"], ["old"], ["o"]]
    last = stages([delete("plugins", "g", name="kgate"), opened])
    assert [stage.name for stage in last] == ["default deny", "adapter removal"]
    # an instance for one service is a mistake, and not the adapter
    assert stages([create("plugins", "g", name="kgate", service={"id": "s"})])[0].name == "entities"


def test_a_protected_route_alone_waits_for_the_adapter() -> None:
    """The run that wrote the adapter may have been killed before Kong followed."""
    assert stages([create("routes", "r", tags=[PROTECTED_TAG])])[0].after_adapter
    assert not stages([create("routes", "r", tags=[])])[0].after_adapter
