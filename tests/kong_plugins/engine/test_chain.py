"""The chain: the first answer ends it, effects add up, identity reaches the filters after passport."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.engine import chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts, Identity, parse_facts
from kong_plugins.engine.verdict import PASS, Verdict

FACTS = parse_facts([1, "r1", "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", "", "", ""])
ALICE = Identity("i", "alice")
STATE: Any = None


class Filter:
    """Answers `found` and remembers what it was asked."""

    def __init__(self, found: Verdict | Ask | None) -> None:
        self.found = found
        self.seen: list[Facts] = []

    def __call__(self, facts: Facts, config: Any, state: Any, now: float) -> Verdict | Ask | None:
        self.seen.append(facts)
        return self.found


def run(*filters: Filter) -> Any:
    steps = tuple((each, None, f"plugin-{number}") for number, each in enumerate(filters))
    return chain.run(FACTS, steps, STATE, 0.0)


def test_nothing_to_say_is_a_pass() -> None:
    assert run(Filter(None), Filter(None)) is PASS


def test_effects_add_up() -> None:
    found = run(Filter(Verdict(upstream="u")), Filter(None), Filter(Verdict(arm="a")))
    assert found == Verdict(upstream="u", arm="a")


def test_an_exit_keeps_nothing_of_what_was_meant_for_the_service_and_ends_the_chain() -> None:
    last = Filter(Verdict(upstream="v"))
    found = run(Filter(Verdict(service_headers=(("X-Passport", "p"),))), Filter(Verdict(status=403)), last)
    assert found == Verdict(status=403, plugin="plugin-1")
    assert last.seen == []


def test_who_it_is_reaches_the_filters_after_it() -> None:
    first, last = Filter(Verdict(identity=ALICE)), Filter(None)
    run(first, last)
    assert first.seen[0].identity is None
    assert last.seen[0] == FACTS._replace(identity=ALICE)


@pytest.mark.parametrize("after", [None, Verdict(status=403), Verdict(upstream="u")])
def test_asks_are_answered_before_anything_is_decided(after: Verdict | None) -> None:
    ask = Ask("limit", "k")
    assert run(Filter(ask), Filter(after)) == (ask,)
