"""The analyst with real shared memory: outcomes in, states that filters see out."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import empty_snapshot, snapshot_of_dump
from kong_plugins.static_fallback.analyst import BreakerAnalyst
from kong_plugins.static_fallback.board import CellBoard
from kong_plugins.static_fallback.config import Config, parse
from kong_plugins.static_fallback.core import decide
from tests.kong_plugins import concerned

NOW = 1_800_000_000.0
FACTS = Facts("r1", "10.0.0.1", "https", "GET", "h", "/", "/", "menu", "order", "food", "", frozenset(), {})
ANSWERS = [{"on": ["open"], "status": 503, "body": "later"}]


class Node:
    """One node: an analyst, and workers that each have the memory open for themselves."""

    def __init__(self, cells: list[Cells], **breaker: Any) -> None:
        raw: dict[str, Any] = {"responses": ANSWERS}
        if breaker.get("failure_rate", 1):
            raw["breaker"] = {
                "minimum_calls": 4,
                "open_seconds": 1,
                "half_open_permits": 3,
                "lease_seconds": 5,
            }
            raw["breaker"].update({key: value for key, value in breaker.items() if key != "retry_budget"})
        if "retry_budget" in breaker:
            raw["retry_budget"] = breaker["retry_budget"]
        self.config: Config = parse(raw)
        self.workers = [State(empty_snapshot(), None, {}, each) for each in cells]  # type: ignore[arg-type]
        self.analyst = BreakerAnalyst(CellBoard(cells[0]))
        self.analyst.configure([self.config])
        self.turn = 0

    def ask(self, now: float, facts: Facts = FACTS) -> Verdict:
        """A request, on the next worker."""
        self.turn += 1
        return decide(facts, self.config, self.workers[self.turn % len(self.workers)], now)

    def tell(
        self, verdict: Verdict, now: float, what: str = "200", source: str = "service", **more: str
    ) -> list[Any]:
        """What became of it."""
        status = {"refused": "502", "timeout": "504"}.get(what, what)
        reason = what if what in ("refused", "reset", "timeout", "no_target") else ""
        row = Outcome(
            "menu", "order", "food", status, status, "1", "10", source, reason, "", verdict.memo, "ip"
        )
        return self.analyst.take(concerned.given(self.analyst, [row._replace(**more)]), now)

    def fail(self, count: int, now: float, what: str = "refused") -> list[Any]:
        found = []
        for _ in range(count):
            found += self.tell(self.ask(now), now, what, "error")
        return found


def attached(processes: int) -> list[Cells]:
    fd = Cells.create(1024)
    return [Cells.attach(fd) for _ in range(processes)]


@pytest.fixture
def cells() -> list[Cells]:
    return attached(4)


@pytest.fixture
def node(cells: list[Cells]) -> Node:
    return Node(cells)


@pytest.mark.parametrize("memo", ["", "c=1", "b=unknown", "b=unknown:1:2:3", "xb=1"])
def test_what_no_breaker_counts_does_not_concern_it(node: Node, memo: str) -> None:
    row = Outcome("menu", "order", "food", "502", "502", "1", "0", "error", "refused", "", memo, "")
    assert not node.analyst.concerned(row)
    assert node.analyst.take([row] * 50, 1.0) == node.analyst.tick(1.1) == []


def test_an_opening_is_seen_by_all_workers_at_once_and_told_with_its_numbers(node: Node) -> None:
    (told,) = node.fail(4, NOW)
    assert (told.kind, told.subject) == ("breaker.opened", "service order")
    assert (told.numbers["calls"], told.numbers["failed"], told.numbers["failures"]) == (4, 4, {"refused": 4})
    assert told.numbers["open_seconds"] == 1
    for _ in node.workers:
        verdict = node.ask(NOW + 0.4)
        assert (verdict.status, verdict.body, verdict.reason) == (503, "later", "fallback_open")
        assert dict(verdict.headers)["Retry-After"] == "1"
        assert dict(verdict.headers)["X-Fallback"] == "static; reason=open"
    assert node.analyst.levels() == {"service:order": 1}


def test_half_open_lets_so_many_pass_over_all_workers_and_closes_after_their_successes(node: Node) -> None:
    node.fail(4, NOW)
    (told,) = node.analyst.tick(NOW + 1.0)
    assert told.kind == "breaker.half_opened"
    verdicts = [node.ask(NOW + 1.1) for _ in range(8)]
    trials = [verdict for verdict in verdicts if verdict.status is None]
    assert len(trials) == 3
    told = [each for trial in trials for each in node.tell(trial, NOW + 1.2)]
    assert [each.kind for each in told] == ["breaker.closed"]
    assert node.ask(NOW + 1.3).status is None
    assert node.ask(NOW + 1.3).memo == f"b={node.config.watch.id}"  # type: ignore[union-attr]


def test_one_request_in_ten_seconds_on_four_workers_closes_it_after_three(node: Node) -> None:
    node.fail(4, NOW)
    now, passed = NOW, 0
    for _ in range(3):
        for _ in range(100):
            now += 0.1
            node.analyst.tick(now)
        verdict = node.ask(now)
        assert verdict.status is None
        passed += 1
        told = node.tell(verdict, now)
    assert (passed, [each.kind for each in told]) == (3, ["breaker.closed"])


def test_a_lost_outcome_frees_its_permit(node: Node) -> None:
    node.fail(4, NOW)
    node.analyst.tick(NOW + 1)
    assert [node.ask(NOW + 1.1).status for _ in range(4)] == [None, None, None, 503]
    node.analyst.tick(NOW + 6)
    assert node.ask(NOW + 6.0).status == 503
    node.analyst.tick(NOW + 6.2)
    again = [node.ask(NOW + 6.2) for _ in range(4)]
    assert [verdict.status for verdict in again] == [None, None, None, 503]
    told = [each for verdict in again[:3] for each in node.tell(verdict, NOW + 6.3)]
    assert [each.kind for each in told] == ["breaker.closed"]


def test_a_failed_trial_opens_it_for_longer(node: Node) -> None:
    node.fail(4, NOW)
    node.analyst.tick(NOW + 1)
    trials = [node.ask(NOW + 1.1) for _ in range(3)]
    told = [each for trial in trials for each in node.tell(trial, NOW + 1.1, "timeout", "error")]
    assert [each.kind for each in told] == ["breaker.opened"]
    assert (told[0].numbers["open_seconds"], told[0].numbers["openings"]) == (2, 2)
    assert node.ask(NOW + 2.5).status == 503


@pytest.mark.parametrize(
    ("what", "source", "more"),
    [
        ("404", "service", {}),
        ("429", "exit", {"upstream_status": ""}),
        ("503", "exit", {"upstream_status": ""}),  # a plugin's own
        ("503", "kgate", {"upstream_status": ""}),
        ("499", "", {"upstream_status": "-"}),
        ("499", "service", {"upstream_status": "200"}),
        ("501", "service", {}),  # not listed
        ("200", "service", {}),
    ],
)
def test_what_is_no_failure(node: Node, what: str, source: str, more: dict[str, str]) -> None:
    for _ in range(50):
        assert node.tell(node.ask(NOW), NOW, what, source, **more) == []
    assert node.ask(NOW).status is None


@pytest.mark.parametrize(
    ("what", "source"),
    [
        ("refused", "error"),
        ("reset", "error"),
        ("timeout", "error"),
        ("no_target", "exit"),
        ("502", "service"),
    ],
)
def test_failure_classes(node: Node, what: str, source: str) -> None:
    told = []
    for _ in range(4):
        told += node.tell(node.ask(NOW), NOW, what, source)
    assert [each.numbers["failures"] for each in told] == [{what: 4}]


def test_a_trial_answered_with_4xx_shows_that_the_service_answers(node: Node) -> None:
    node.fail(4, NOW)
    node.analyst.tick(NOW + 1)
    told = [each for _ in range(3) for each in node.tell(node.ask(NOW + 1.1), NOW + 1.1, "404")]
    assert [each.kind for each in told] == ["breaker.closed"]


def test_a_trial_that_never_reached_the_service_frees_its_permit_at_once(node: Node) -> None:
    node.fail(4, NOW)
    node.analyst.tick(NOW + 1)
    for _ in range(20):
        trial = node.ask(NOW + 1.1)
        assert trial.status is None
        node.tell(trial, NOW + 1.1, "499", "")


def test_a_dead_analysis_holds_nothing_open(node: Node) -> None:
    node.fail(4, NOW)
    assert node.ask(NOW + 2.9).status == 503
    assert node.ask(NOW + 3.1).status is None


def test_nodes_tell_each_other(cells: list[Cells]) -> None:
    here = Node(cells)
    there = Node(attached(2))
    here.fail(4, NOW)
    told = here.analyst.tell(NOW + 0.1)
    assert told is not None
    (change,) = there.analyst.merge("here", told, NOW + 0.1)
    assert (change.kind, change.numbers["cause"], change.numbers["node"]) == (
        "breaker.opened",
        "peer",
        "here",
    )
    assert there.ask(NOW + 0.2).status == 503
    assert there.analyst.merge("here", told, NOW + 0.2) == []
    for node in (here, there):
        node.analyst.tick(NOW + 1.1)
    for _ in range(3):
        here.tell(here.ask(NOW + 1.2), NOW + 1.2)
    told = here.analyst.tell(NOW + 1.3)
    assert told is not None
    there.analyst.merge("here", told, NOW + 1.3)
    assert there.ask(NOW + 1.3).memo.count(":") == 0, "closed there as well"


def test_metrics_only_tells_and_refuses_nobody(cells: list[Cells]) -> None:
    node = Node(cells, mode="metrics_only")
    assert [told.kind for told in node.fail(40, NOW)] == ["breaker.would_open"]
    assert node.ask(NOW).status is None


def test_per_route(cells: list[Cells]) -> None:
    node = Node(cells, per="route")
    node.fail(4, NOW)
    assert node.ask(NOW).status == 503
    assert node.ask(NOW, FACTS._replace(route="other")).status is None


@pytest.mark.parametrize(
    ("key", "state", "status"),
    [("service order", "closed", None), ("*", "open", 503), ("route other", "closed", 503)],
)
def test_an_operators_word_stands_above(node: Node, key: str, state: str, status: int | None) -> None:
    node.fail(4, NOW)
    snapshot = snapshot_of_dump(StateDump(1, {"breakers": [Record("breakers", key, {"state": state})]}, {}))
    node.workers = [each._replace(snapshot=snapshot) for each in node.workers]
    assert node.ask(NOW).status == status


def test_a_reset_closes_it_once(node: Node) -> None:
    node.fail(4, NOW)
    record = Record("breakers", "service order", {"state": "reset"}, changed=NOW + 0.5)
    snapshot = snapshot_of_dump(StateDump(1, {"breakers": [record]}, {}))
    assert [told.kind for told in node.analyst.see(snapshot, NOW + 0.6)] == ["breaker.closed"]
    node.fail(4, NOW + 0.7)
    assert node.analyst.see(snapshot, NOW + 0.8) == []
    assert node.ask(NOW + 0.8).status == 503


def test_the_retry_budget_takes_retries_away_and_gives_them_back(cells: list[Cells]) -> None:
    node = Node(cells, failure_rate=0, retry_budget=20)
    found = []
    for number in range(100):  # a quarter of the first tries fail; their retries work
        found += node.tell(node.ask(NOW), NOW, tries="2" if number % 4 == 0 else "1")
    assert [told.kind for told in found] == ["retry.stopped"]
    assert node.ask(NOW).retries == 0
    found = []
    for _ in range(400):
        found += node.tell(node.ask(NOW + 1), NOW + 1)
    assert [told.kind for told in found] == ["retry.resumed"]
    assert node.ask(NOW + 1).retries is None
