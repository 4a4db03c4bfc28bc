"""Leases of several plugins together, and of a chain: what the verdict says of the request reaches each plugin's."""

from __future__ import annotations

import math
from typing import Any

import pytest

from kong_plugins.engine import chain
from kong_plugins.engine.facts import Facts, Identity, parse_facts
from kong_plugins.engine.lease import NONE, UNBOUNDED, Condition, Lease, together
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.engine.verdict import PASS, Verdict

FACTS = parse_facts([1, "r1", "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", "", "", ""])
ALICE = Identity("i", "alice")
STATE: Any = object()
ONE, TWO = (Condition(name, lambda _state, _now: True) for name in "12")


@pytest.mark.parametrize(
    ("leases", "found"),
    [
        ([], UNBOUNDED),
        ([UNBOUNDED], UNBOUNDED),
        ([UNBOUNDED, Lease(3.0), Lease(2.0)], Lease(2.0)),
        ([Lease(3.0), UNBOUNDED], Lease(3.0)),
        ([Lease(3.0), NONE], NONE),
        ([NONE, Lease(3.0)], NONE),
        ([Lease(-1.0), UNBOUNDED], NONE),
        ([Lease(3.0, (ONE,)), Lease(4.0, (TWO,))], Lease(3.0, (ONE, TWO))),
        ([Lease(3.0, (ONE,)), NONE], NONE),
    ],
)
def test_together_they_are_as_long_as_the_shortest(leases: list[Lease], found: Lease) -> None:
    assert together(iter(leases)) == found


def test_nothing_that_lasts_for_ever_is_a_number_of_seconds() -> None:
    assert math.inf == UNBOUNDED.seconds
    assert NONE.seconds == 0


class Asked:
    """A plugin's lease function that remembers what it was asked."""

    def __init__(self, found: Lease = UNBOUNDED) -> None:
        self.found = found
        self.seen: list[tuple[Facts, Any, Any, float]] = []

    def __call__(self, facts: Facts, config: Any, state: Any, now: float) -> Lease:
        self.seen.append((facts, config, state, now))
        return self.found


def steps(*plugins: str) -> chain.Chain:
    return tuple((lambda *_: None, f"config of {plugin}", plugin) for plugin in plugins)


def leases(monkeypatch: pytest.MonkeyPatch, **found: Lease) -> dict[str, Asked]:
    asked = {name: Asked(found.get(name, UNBOUNDED)) for name in ("one", "two")}
    monkeypatch.setattr(chain, "LEASES", asked)
    return asked


def test_each_plugin_is_asked_once_with_its_config_and_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = leases(monkeypatch, one=Lease(5.0, (ONE,)), two=Lease(7.0, (TWO,)))
    verdict = Verdict(identity=ALICE, arm="v2=canary")
    found = chain.lease(FACTS, steps("one", "two", "one"), verdict, STATE, 9.0)
    assert found == Lease(5.0, (ONE, TWO))
    known = FACTS._replace(identity=ALICE, arm="v2=canary")
    for name in ("one", "two"):
        assert asked[name].seen == [(known, f"config of {name}", STATE, 9.0)]


def test_nobody_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict without a user is the same for all addresses, and so is what is remembered of it."""
    asked = leases(monkeypatch)
    assert chain.lease(FACTS, steps("one"), PASS, STATE, 9.0) == NONE
    assert asked["one"].seen == []


@pytest.mark.parametrize("status", [200, 403, 503])
def test_an_answer_to_the_client_has_none(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    asked = leases(monkeypatch)
    assert chain.lease(FACTS, steps("one"), Verdict(status=status, identity=ALICE), STATE, 9.0) == NONE
    assert asked["one"].seen == []


@pytest.mark.parametrize("plugins", [("kgate",), ("one", "kgate"), ("another", "two")])
def test_a_step_that_says_nothing_of_leases_has_none(
    monkeypatch: pytest.MonkeyPatch, plugins: tuple[str, ...]
) -> None:
    asked = leases(monkeypatch)
    assert chain.lease(FACTS, steps(*plugins), PASS._replace(identity=ALICE), STATE, 9.0) == NONE
    assert not any(each.seen for each in asked.values())


def test_every_gate_plugin_says_for_how_long() -> None:
    assert chain.LEASES.keys() == set(PLUGINS)
