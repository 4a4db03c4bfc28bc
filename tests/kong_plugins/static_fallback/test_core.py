"""static-fallback's decision: the prepared answers by name, and one of them at once."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.engine.facts import Facts
from kong_plugins.state.base import State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump
from kong_plugins.static_fallback.config import parse
from kong_plugins.static_fallback.core import decide

NOW = 100.0
FACTS = Facts("r1", "10.0.0.1", "https", "GET", "h", "/", "/", "menu", "order", "food", "", frozenset(), {})
ANSWERS = [
    {"name": "empty", "on": ["502"], "status": 200, "body": "[]", "headers": {"X-A": "1"}},
    {"name": "closed", "on": ["503", "refused"], "status": 503, "body": "later"},
]
CONFIG = parse({"responses": ANSWERS})


def state(*records: tuple[str, str, dict[str, Any], float | None]) -> State:
    held: dict[str, list[Record]] = {}
    for collection, key, data, expires in records:
        held.setdefault(collection, []).append(Record(collection, key, data, expires=expires))
    return State(snapshot_of_dump(StateDump(1, held, {})), trust=None)  # type: ignore[arg-type]


def force(key: str, name: str | None = None, expires: float | None = None) -> Any:
    return "fallbacks", key, {"name": name}, expires


def hold(key: str, how: str, expires: float | None = None) -> Any:
    return "breakers", key, {"state": how}, expires


@pytest.mark.parametrize(
    ("records", "fallback"),
    [
        ([], ""),
        ([force("route menu")], "closed; reason=forced"),
        ([force("service order", "empty")], "empty; reason=forced"),
        ([force("tenant food", "gone")], "closed; reason=forced"),
        ([force("tenant other"), force("service food")], ""),
        ([force("route menu", expires=NOW)], ""),
        ([hold("service order", "open")], "closed; reason=open"),
        ([hold("*", "open")], "closed; reason=open"),
        ([hold("route menu", "closed"), hold("*", "open")], ""),
        ([hold("service order", "open", expires=NOW)], ""),
        ([hold("service order", "open"), force("tenant food", "empty")], "empty; reason=forced"),
    ],
)
def test_what_is_answered_at_once(records: list[Any], fallback: str) -> None:
    verdict = decide(FACTS, CONFIG, state(*records), NOW)
    headers = dict(verdict.headers)
    assert headers.get("X-Fallback", "") == fallback
    if not fallback:
        assert (verdict.status, verdict.prepared) == (None, CONFIG.plan.hash)
        return
    name, _, why = fallback.partition("; reason=")
    assert verdict.reason == f"fallback_{why}"
    assert (verdict.status, verdict.body) == ((200, "[]") if name == "empty" else (503, "later"))
    assert headers["Cache-Control"] == "no-store"
    assert headers.get("X-A") == ("1" if name == "empty" else None)


def test_without_an_answer_for_503_the_first_is_given() -> None:
    verdict = decide(FACTS, parse({"responses": ANSWERS[:1]}), state(force("route menu")), NOW)
    assert dict(verdict.headers)["X-Fallback"] == "empty; reason=forced"
