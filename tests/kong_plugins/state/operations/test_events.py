"""Reading and following the audit log, on both stores."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kong_plugins.state.base import Store
from kong_plugins.state.operations import allows, blocks, events
from tests.kong_plugins.state.stores import make, store

__all__ = ["make", "store"]


@pytest.mark.parametrize(
    ("filters", "subjects"),
    [
        ({}, ["ip 10.0.0.1", "ip 10.0.0.2", "ip 10.0.0.2", "ip 10.0.0.3"]),
        ({"count": 2}, ["ip 10.0.0.2", "ip 10.0.0.3"]),
        ({"kind": "block"}, ["ip 10.0.0.1", "ip 10.0.0.2", "ip 10.0.0.2"]),
        ({"kind": "block.remove"}, ["ip 10.0.0.2"]),
        ({"kind": "blo"}, []),
        ({"actor": "lee"}, ["ip 10.0.0.2", "ip 10.0.0.2"]),
        ({"actor": "lee", "count": 1, "kind": "block"}, ["ip 10.0.0.2"]),
        ({"subject": "0.3"}, ["ip 10.0.0.3"]),
    ],
)
def test_recent(store: Store, filters: dict[str, Any], subjects: list[str]) -> None:
    blocks.add(store, "10.0.0.1", actor="kim")
    blocks.add(store, "10.0.0.2", actor="lee")
    blocks.remove(store, "10.0.0.2", actor="lee")
    allows.add(store, "10.0.0.3", actor="kim")
    assert [event.subject for event in events.recent(store, **filters)] == subjects
    first = events.recent(store)[0]
    assert [event.subject for event in events.recent(store, 1, after_id=first.id, kind="block")] == [
        "ip 10.0.0.2"
    ]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 10_001}, {"after_id": "x"}, {"after_id": "1-2-3"}])
def test_wrong_questions(store: Store, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"count|id"):
        events.recent(store, **wrong)


def test_follow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks.add(store, "10.0.0.1", actor="kim")
    following = events.follow(store, seconds=30)
    timer, wait = threading.Timer(0.05, lambda: blocks.add(store, "10.0.0.2", actor="kim")), store.wait

    def waiting(after_id: str | None, timeout: float) -> Any:
        timer.start()  # not before it is known from where on it follows
        monkeypatch.undo()
        return wait(after_id, timeout)

    monkeypatch.setattr(store, "wait", waiting)
    assert [event.subject for event in next(following)] == ["ip 10.0.0.2"]
    timer.join()
    blocks.add(store, "10.0.0.3", actor="kim")
    blocks.add(store, "10.0.0.4", actor="kim")
    assert [event.subject for event in next(following)] == ["ip 10.0.0.3", "ip 10.0.0.4"]
    assert next(events.follow(store, seconds=0.01)) == []
    assert len(next(events.follow(store, "0-0", 0.01))) == 4
