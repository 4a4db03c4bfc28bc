"""What a lease promises: while it lasts, each request that it is for would have got the same verdict."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from kong_plugins.engine import chain
from kong_plugins.engine.lasting import Lasting
from kong_plugins.engine.lease import Lease
from kong_plugins.passport.core import LASTS_FROM
from kong_plugins.state.cells import Cells

from .lease_cases import Case, Draw

LONGEST = 12.0
"""Seconds that are looked at; the server's are no longer."""
CASES = 300


@pytest.fixture
def cells() -> Iterator[Cells]:
    fd = Cells.create(256)
    found = Cells.attach(fd)
    yield found
    found.close()
    os.close(fd)


def asked(draw: Draw, case: Case) -> Lease | None:
    """The lease of the verdict that the case's request gets when its user has asked before; None where the verdict is
    not one that is told with a lease."""
    start = case.now - draw.chance.choice((0.0, 0.5, 1.9))
    for _ in range(LASTS_FROM):
        chain.run(draw.alike(case.facts)._replace(headers=case.facts.headers), case.chain, case.state, start)
    verdict = chain.run(case.facts, case.chain, case.state, case.now)
    if type(verdict) is not Lasting or verdict.status is not None:
        return None
    return chain.lease(case.facts, case.chain, verdict, case.state, case.now)


def times(draw: Draw, case: Case, seconds: float) -> list[float]:
    """Within a lease: its ends, all ends of what ends by itself, and others."""
    last = case.now + min(seconds, LONGEST)
    near = [end + step for end in (*case.ends, last) for step in (-1e-4, 0.0, 1e-4)]
    found = [case.now, *near, *(draw.chance.uniform(case.now, last) for _ in range(4))]
    return sorted(time for time in found if case.now <= time < last - 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_whoever_a_lease_is_for_would_get_the_same_verdict_while_it_lasts(seed: int, cells: Cells) -> None:
    draw = Draw(Random(seed), cells)
    leased = users = 0
    for number in range(CASES):
        case = draw.case()
        found = asked(draw, case)
        if found is None or found.seconds <= 0:
            continue
        verdict = chain.run(case.facts, case.chain, case.state, case.now)
        leased += 1
        users += verdict.identity is not None
        for time in times(draw, case, found.seconds):
            if draw.chance.random() < 0.3:
                chain.run(draw.other(case.facts), case.chain, case.state, time)
            facts = draw.alike(case.facts)
            assert chain.run(facts, case.chain, case.state, time) == verdict, (seed, number, time - case.now)
    assert leased > CASES / 14
    assert users > CASES / 30


@pytest.mark.parametrize("seed", range(100, 102))
def test_what_ends_a_lease_without_the_control_state_is_a_condition_of_it(seed: int, cells: Cells) -> None:
    """A breaker that opens, a retry budget that is used up: then the verdict is another one."""
    draw = Draw(Random(seed), cells)
    raised = 0
    for number in range(CASES):
        case = draw.case()
        found = asked(draw, case)
        if found is None or found.seconds <= 0 or case.state.cells is None:
            continue
        time = case.now + min(found.seconds, 1.0) / 2
        verdict = chain.run(case.facts, case.chain, case.state, time)
        for flag in case.flags:
            draw._raise(flag, case.now + 20)
            holds = all(each.holds(case.state, time) for each in found.conditions)
            now = chain.run(draw.alike(case.facts), case.chain, case.state, time)
            assert (now == verdict) is holds, (seed, number, flag)
            raised += not holds
            if not holds:
                break
    assert raised > 3


@pytest.mark.parametrize("seed", range(200, 202))
def test_requests_of_one_address_that_get_the_same_verdict_have_the_same_lease(
    seed: int, cells: Cells
) -> None:
    """What is remembered of a verdict and its lease is remembered by verdict, route and address (server/told.py)."""
    draw = Draw(Random(seed), cells)
    same = 0
    for number in range(CASES):
        case = draw.case()
        found = asked(draw, case)
        if found is None:
            continue
        verdict = chain.run(case.facts, case.chain, case.state, case.now)
        for _ in range(6):
            facts = draw.other(case.facts)
            other = chain.run(facts, case.chain, case.state, case.now)
            if other is verdict:
                same += 1
                one = chain.lease(facts, case.chain, other, case.state, case.now)
                assert one.seconds == found.seconds, (seed, number)
                assert [each.name for each in one.conditions] == [each.name for each in found.conditions]
    assert same > 20
