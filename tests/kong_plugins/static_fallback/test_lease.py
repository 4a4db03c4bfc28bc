"""For how long static-fallback's decision stands: while the breaker is closed and there is a retry budget."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import NONE, UNBOUNDED
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump
from kong_plugins.static_fallback import switch
from kong_plugins.static_fallback.config import Config, parse
from kong_plugins.static_fallback.core import decide
from kong_plugins.static_fallback.lease import lease

NOW = 1000.0
NS = int(NOW * 1e9)
FACTS = Facts("r1", "10.0.0.1", "https", "GET", "h", "/", "/", "menu", "order", "food", "", frozenset(), {})
ANSWERS = [{"on": ["503"], "status": 503}]
PLAIN = parse({"responses": ANSWERS})
BY_SERVICE = parse({"responses": ANSWERS, "breaker": {}})
BY_ROUTE = parse({"responses": ANSWERS, "breaker": {"per": "route"}})
BUDGET = parse({"responses": ANSWERS, "retry_budget": 20})
BOTH = parse({"responses": ANSWERS, "retry_budget": 20, "breaker": {}})


@pytest.fixture
def cells() -> Iterator[Cells]:
    fd = Cells.create(64)
    found = Cells.attach(fd)
    yield found
    found.close()
    os.close(fd)


def state(cells: Cells | None, *held: tuple[str, str, float | None]) -> State:
    records = [Record("breakers", key, {"state": how}, expires=expires) for key, how, expires in held]
    return State(snapshot_of_dump(StateDump(1, {"breakers": records}, {})), None, {}, cells)  # type: ignore[arg-type]


def flags(config: Config) -> list[str]:
    assert config.watch is not None
    found = {
        BY_SERVICE: [switch.breaker_flag(config.watch.id, "order")],
        BY_ROUTE: [switch.breaker_flag(config.watch.id, "menu")],
        BUDGET: [switch.budget_flag(config.watch.id, "order")],
        BOTH: [switch.breaker_flag(config.watch.id, "order"), switch.budget_flag(config.watch.id, "order")],
    }
    return found[config]


def test_without_a_breaker_it_stands_without_bound(cells: Cells) -> None:
    assert lease(FACTS, PLAIN, state(cells), NOW) == UNBOUNDED
    assert lease(FACTS, PLAIN, state(None), NOW) == UNBOUNDED


@pytest.mark.parametrize("config", [BY_SERVICE, BUDGET, BOTH])
def test_where_no_process_tells_another_of_failures_nothing_ends_it(config: Config) -> None:
    assert lease(FACTS, config, state(None), NOW) == UNBOUNDED


@pytest.mark.parametrize(
    ("held", "stands"),
    [
        (("route menu", "open", None), False),
        (("route menu", "closed", None), False),
        (("service order", "closed", NOW + 1), False),
        (("tenant food", "closed", None), False),
        (("*", "closed", None), False),
        (("*", "closed", NOW), True),
        (("route menu", "reset", None), True),
        (("route other", "closed", None), True),
        (("service menu", "closed", None), True),
        (("tenant other", "open", None), True),
    ],
)
@pytest.mark.parametrize("config", [PLAIN, BY_SERVICE])
def test_none_while_an_operator_holds_the_breaker(
    cells: Cells, config: Config, held: tuple[str, str, float | None], stands: bool
) -> None:
    assert (lease(FACTS, config, state(cells, held), NOW).seconds > 0) is stands


@pytest.mark.parametrize("config", [BY_SERVICE, BY_ROUTE, BUDGET, BOTH])
def test_it_stands_while_its_flags_are_down(cells: Cells, config: Config) -> None:
    now = state(cells)
    found = lease(FACTS, config, now, NOW)
    assert found.seconds == UNBOUNDED.seconds
    assert [each.name for each in found.conditions] == flags(config)
    assert all(each.holds(now, NOW) for each in found.conditions)
    for flag, condition in zip(flags(config), found.conditions, strict=True):
        assert decide(FACTS, config, now, NOW) is config.verdict
        switch.show(cells, flag, switch.OPEN, 5_000, NS + 2_000_000_000, NS)
        assert not condition.holds(now, NOW + 1)
        assert [each.holds(now, NOW + 1) for each in found.conditions].count(False) == 1
        assert decide(FACTS, config, now, NOW + 1) is not config.verdict
        assert lease(FACTS, config, now, NOW + 1) == NONE
        assert condition.holds(now, NOW + 2), "the flag has ended"
        assert condition.holds(now._replace(cells=None), NOW + 1)
        switch.show(cells, flag, 0, 0, NS + 2_000_000_000, NS)
        assert lease(FACTS, config, now, NOW + 1).seconds == UNBOUNDED.seconds


def test_none_while_the_breaker_tries(cells: Cells) -> None:
    switch.show(cells, flags(BY_SERVICE)[0], switch.HALF_OPEN, 1_000_000, NS + 10**10, NS)
    assert lease(FACTS, BY_SERVICE, state(cells), NOW) == NONE


@pytest.mark.parametrize(("config", "name"), [(BY_SERVICE, "menu"), (BY_ROUTE, "order")])
def test_another_breaker_does_not_matter(cells: Cells, config: Config, name: str) -> None:
    assert config.watch is not None
    switch.show(cells, switch.breaker_flag(config.watch.id, name), switch.OPEN, 5_000, NS + 10**10, NS)
    assert lease(FACTS, config, state(cells), NOW).seconds > 0
