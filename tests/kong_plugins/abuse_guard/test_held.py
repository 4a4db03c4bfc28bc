"""What still holds of what was found, in bounded memory."""

from __future__ import annotations

from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.held import UNDER_WAY_SECONDS, Held
from kong_plugins.abuse_guard.scenario import Scenario
from kong_plugins.state.marks import Mark
from tests.kong_plugins.abuse_guard.site import NOW, SIMPLE


def scenario(name: str, score: int) -> Scenario:
    found = parse({"scenarios": [{**SIMPLE, "name": name, "score": score, "then": ["mark"]}]}).scenarios
    assert found is not None
    return found.items[0]


ONE, OTHER = scenario("one", 20), scenario("other", 30)


def test_marks_are_bounded_and_the_oldest_goes() -> None:
    held = Held(limit=2)
    for target in ("ip 1", "ip 2", "ip 3"):
        held.mark(ONE, target, 60, False, None, NOW)
    assert held.mark(OTHER, "ip 3", 60, False, None, NOW).score == 50
    assert held.mark(OTHER, "ip 1", 60, False, None, NOW).score == 30, "forgotten"


def test_marks_that_other_nodes_made_are_bounded_too() -> None:
    held = Held(limit=2)
    for target in ("ip 1", "ip 2", "ip 3"):
        held.mark(ONE, target, 60, False, Mark(target, 10, ("there",), 0.0, NOW + 60), NOW)
    assert held.mark(OTHER, "ip 3", 60, False, None, NOW).score == 60
    assert held.mark(OTHER, "ip 1", 60, False, None, NOW).score == 30, "forgotten"


def test_what_was_marked_twice_stays_longer() -> None:
    held = Held(limit=2)
    for target in ("ip 1", "ip 2", "ip 1", "ip 3"):
        held.mark(ONE, target, 60, False, None, NOW)
    assert held.mark(OTHER, "ip 1", 60, False, None, NOW).score == 50


def test_blocks_are_bounded_and_the_oldest_goes() -> None:
    held = Held(limit=2)
    for target in ("ip 1", "ip 2", "ip 3"):
        held.block(target, NOW + 60, NOW)
    assert [held.blocks(target, NOW + 60, NOW) for target in ("ip 1", "ip 2", "ip 3")] == [False, True, True]
    late = NOW + UNDER_WAY_SECONDS
    assert not held.blocks("ip 3", late, late), "what was under way has come"
