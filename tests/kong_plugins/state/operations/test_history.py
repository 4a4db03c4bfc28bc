"""What the loser of a race is told, from the audit log."""

from __future__ import annotations

import pytest

from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations import canaries, history, live, notes
from kong_plugins.state.operations.overview import overview


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (0, [(3, None, 3.0), (4, 3.0, 4.0)]),  # after the removal
        (1, [(2, 1.0, 2.0), (0, 2.0, None), (3, None, 3.0), (4, 3.0, 4.0)]),
        (3, [(4, 3.0, 4.0)]),
        (4, []),
        (9, []),
    ],
)
def test_changes_since_a_version(seen: int, told: list[tuple[int, float | None, float | None]]) -> None:
    store = MemoryStore()
    for percent in (1, 2):
        canaries.update(store, "v2", {"percent": float(percent)}, actor="kim")
    canaries.update(store, "other", {"percent": 9.0}, actor="kim")
    canaries.reset(store, "v2", actor="lee")
    for percent in (3, 4):
        canaries.update(store, "v2", {"percent": float(percent)}, actor="amy", reason="up")
    notes.write(store, "canary.promote", "v2", actor="amy")  # no change of the record
    found = history.since(store, "canary", "v2", seen)
    assert [(one.version, *one.fields["percent"]) for one in found] == told
    by_amy = [one for one in found if one.version > 2]
    assert all((one.kind, one.actor, one.reason) == ("canary.set", "amy", "up") for one in by_amy)


def test_what_the_log_does_not_hold_is_missing() -> None:
    store = MemoryStore(max_events=2)
    for percent in range(5):
        canaries.update(store, "v2", {"percent": float(percent)}, actor="kim")
    assert [one.version for one in history.since(store, "canary", "v2", 1)] == [4, 5]


def test_a_removal_is_a_change() -> None:
    store = MemoryStore()
    canaries.update(store, "v2", {"percent": 1.0}, actor="kim")
    canaries.reset(store, "v2", actor="lee")
    (found,) = history.since(store, "canary", "v2", 1)
    assert (found.version, found.actor, found.fields["percent"]) == (0, "lee", (1.0, None))


def test_overview_is_read_again_when_something_changed() -> None:
    now = [1_000.0]
    store = MemoryStore(lambda: now[0])
    canaries.update(store, "v2", {"percent": 1.0}, actor="kim")
    first = overview(store)
    assert [one.name for one in first.canaries] == ["v2"]
    notes.write(store, "gateway.note", "x", actor="node")
    second = overview(store, first)
    assert second.canaries is first.canaries
    assert second.events[-1].kind == "gateway.note"
    canaries.reset(store, "v2", actor="kim")
    assert overview(store, second).canaries == ()
    assert live.snapshot(store).version == store.version()
