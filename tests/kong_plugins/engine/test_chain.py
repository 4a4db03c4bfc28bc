"""The chain: the first answer ends it, effects add up, identity reaches the filters after passport."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.engine import chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.chain import Pending
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
    assert run(Filter(ask), Filter(after)).asks == (ask,)


def test_a_breakers_trial_is_taken_once_however_often_the_chain_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker, ask = Filter(Verdict(memo="b=1")), Filter(Ask("script", ()))
    monkeypatch.setattr(chain.static_fallback, "decide", breaker)
    assert run(ask, breaker) == Pending((ask.found,))
    assert breaker.seen == []
    assert run(Filter(None), breaker) == Verdict(memo="b=1")


def test_an_ask_about_a_known_user_lets_the_filters_after_it_know_him() -> None:
    ask, last = Ask("enrichment", "k", (), ALICE), Filter(None)
    assert run(Filter(ask), last) == Pending((ask,))
    assert last.seen[0] == FACTS._replace(identity=ALICE)


def test_an_ask_about_a_user_is_not_needed_to_refuse_him() -> None:
    refused, ask = Filter(Verdict(status=429)), Ask("enrichment", "k", (), ALICE)
    assert run(Filter(ask), refused).status == 429
    strict = Ask("limit", "l")
    assert run(Filter(strict), Filter(ask), refused).asks == (strict, ask), (
        "a limit counts who is refused, too"
    )


def test_an_answer_to_the_client_holds_in_the_run_with_the_answers() -> None:
    """A limit that refused counts nothing and does not refuse again: it is not asked twice."""
    no, ask = Verdict(status=429, reason="rate_limited"), Ask("limit", "l")
    steps = [(Filter(ask), None, "abuse-guard"), (Filter(no), None, "abuse-guard"), (Filter(PASS), None, "x")]
    pending = chain.run(FACTS, tuple(steps), STATE, 0.0)
    assert pending == Pending((ask,), 1, no)
    steps[0], steps[1] = (Filter(None), None, "abuse-guard"), (Filter(None), None, "abuse-guard")
    found = chain.run(FACTS, tuple(steps), STATE, 0.0, pending)
    assert (found.status, found.reason, found.plugin) == (429, "rate_limited", "abuse-guard")
    assert steps[1][0].seen == []
    steps[0] = (Filter(Verdict(status=403)), None, "abuse-guard")
    assert chain.run(FACTS, tuple(steps), STATE, 0.0, pending).status == 403, "what comes before it is heard"
