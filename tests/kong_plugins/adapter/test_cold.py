"""While the gate plugins may have no instances, one request at a time goes to them."""

from __future__ import annotations

import pytest

ARRIVE = """
  local cold, plan, ends = ...
  local rec = {}
  local slept = 0
  ngx.sleep = function(seconds)
    slept = slept + seconds
    ends(slept)
  end
  cold.wait(plan)
  cold.try(rec, plan)
  return rec.trying or false, slept
"""


@pytest.fixture
def plan(world):
    return world.table({})


def arrive(world, plan, ends=lambda slept: None):
    """Whether the next request becomes the one that tries, and how long it waited."""

    def passed(slept):
        world.fake[b"now"] = 1000 + slept
        ends(slept)

    world.fake[b"now"] = 1000
    tries, slept = world.run(ARRIVE, world.module("kgate.cold")._table, plan, passed)
    return tries, round(slept, 3)


def first(world, plan):
    rec = world.table({})
    world.module("kgate.cold").__getattr__("try")(rec, plan)
    return rec


def test_the_first_does_not_wait(world, plan):
    assert arrive(world, plan) == (True, 0)


@pytest.mark.parametrize(("answered", "tries"), [(True, False), (False, True)])
def test_the_next_waits_for_what_the_first_finds(world, plan, answered, tries):
    """It tries itself where that was no answer: the breaker counts two."""
    done, rec = world.module("kgate.cold").done, first(world, plan)
    ends = lambda slept: slept > 0.295 and done(rec, plan, answered)  # noqa: E731
    assert arrive(world, plan, ends) == (tries, 0.3)


def test_nobody_waits_where_the_instances_are_there(world, plan):
    cold = world.module("kgate.cold")
    cold.done(first(world, plan), plan, True)
    assert arrive(world, plan) == (False, 0)
    cold.done(world.table({}), plan, False)
    assert arrive(world, plan) == (True, 0), "one that got no answer makes them doubtful again"


def test_one_that_never_ends_is_not_waited_for_for_ever(world, plan):
    first(world, plan)
    tries, slept = arrive(world, plan)
    assert not tries
    assert slept == pytest.approx(3, abs=0.02)


def test_only_the_one_that_tries_lets_the_next_go(world, plan):
    first(world, plan)
    world.module("kgate.cold").done(world.table({}), plan, False)
    assert arrive(world, plan)[1] > 0
