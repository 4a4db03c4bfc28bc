"""The breaker: against a slow reference over random sequences, and the cases that are worth a name."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.static_fallback.breaker import Breaker
from kong_plugins.static_fallback.breaker_config import BreakerConfig, parse
from tests.kong_plugins.static_fallback.reference import Reference

# whole percents of small counts and times on a grid: nothing hangs on the last digit of a float
configs = st.builds(
    BreakerConfig,
    mode=st.sampled_from(["on", "on", "on", "metrics_only"]),
    window=st.sampled_from(["count", "time"]),
    size=st.integers(1, 8),
    minimum_calls=st.integers(1, 10),
    failure_rate=st.sampled_from([1.0, 25.0, 50.0, 75.0, 100.0]),
    slow_rate=st.sampled_from([50.0, 100.0]),
    open_seconds=st.sampled_from([0.5, 1.0, 4.0]),
    open_growth=st.sampled_from([1.0, 2.0, 4.0]),
    open_max=st.sampled_from([0.25, 2.0, 16.0]),
    permits=st.integers(1, 5),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 0.5, 1.0, 3.0]),  # seconds that pass
        st.sampled_from(["good", "failed", "failed", "slow", "both", "tick"]),
        st.sampled_from([0.0, 0.0, 0.25, 2.0]),  # how long the call took
        st.booleans(),  # a trial
    ),
    max_size=80,
)


@given(configs, steps)
@settings(max_examples=200, deadline=None)
def test_it_does_what_the_reference_does(
    config: BreakerConfig, sequence: list[tuple[float, str, float, bool]]
) -> None:
    now = 1000.0
    breaker, reference = Breaker(config, now), Reference(config, now)
    for passed, what, took, trial in sequence:
        now += passed
        breaker.tick(now)
        reference.tick(now)
        before = breaker.state
        if what != "tick":
            failed, slow = what in ("failed", "both"), what in ("slow", "both")
            change = breaker.record(failed, slow, now - took, now, trial)
            reference.record(failed, slow, now - took, now, trial)
            assert config.mode != "on" or (change is not None) == (breaker.state != before)
        assert (breaker.state, breaker.since, breaker.openings) == (
            reference.state,
            reference.since,
            reference.openings,
        )
        if breaker.state == "open":
            assert breaker.until == reference.until
        else:
            window = reference._window()
            sums = breaker.sums
            assert (sums.calls, sums.failed) == (len(window), sum(failed for _, failed, _ in window))


def breaker(**fields: object) -> Breaker:
    found = parse({"breaker": {"minimum_calls": 4, "open_seconds": 1, **fields}})
    assert found is not None
    assert found.breaker is not None
    return Breaker(found.breaker, 0.0)


def opened(**fields: object) -> Breaker:
    made = breaker(**fields)
    for _ in range(4):
        made.record(True, False, 1.0, 1.0)
    assert made.state == "open"
    return made


def test_too_few_calls_say_nothing() -> None:
    made = breaker()
    assert [made.record(True, False, 1.0, 1.0) for _ in range(3)] == [None] * 3
    change = made.record(False, False, 1.0, 1.0)
    assert change is not None
    assert (change.after, change.cause, change.sums) == ("open", "failure_rate", (4, 3, 0))


def test_slow_calls_open_it_too() -> None:
    made = breaker(slow_call_rate=50)
    results = [made.record(False, slow, 1.0, 1.0) for slow in (True, False, True, False)]
    assert results[-1] is not None
    assert results[-1].cause == "slow_rate"


def test_it_opens_for_longer_each_time_up_to_a_cap() -> None:
    made, now, found = opened(open_growth=3, open_max_seconds=10, half_open_permits=1), 1.0, []
    for _ in range(4):
        found.append(made.until - now)
        now = made.until
        assert made.tick(now - 0.001) is None
        assert made.tick(now) is not None
        made.record(True, False, now, now, trial=True)
    assert found == [1, 3, 9, 10]


def test_a_close_forgets_the_openings() -> None:
    made = opened(half_open_permits=2)
    made.tick(2.0)
    assert made.record(False, False, 2.0, 2.0, trial=True) is None
    assert made.record(False, False, 2.0, 2.0, trial=True) is not None
    assert (made.state, made.openings, made.sums.calls) == ("closed", 0, 0)


def test_calls_of_before_say_nothing_after_it_closed() -> None:
    made = opened(half_open_permits=1)
    made.tick(2.0)
    made.record(False, False, 2.0, 2.0, trial=True)
    for _ in range(20):
        assert made.record(True, True, 1.5, 31.0) is None
    assert made.state == "closed"


def test_metrics_only_tells_once_and_never_opens() -> None:
    made = breaker(mode="metrics_only")
    changes = [made.record(True, False, 1.0, 1.0) for _ in range(20)]
    assert [change for change in changes if change] == [changes[3]]
    assert made.state == "closed"


@pytest.mark.parametrize("seed", range(2))
def test_no_false_opening_at_five_percent_of_random_errors(seed: int) -> None:
    drawn = random.Random(seed)
    made = breaker(minimum_calls=20)
    now = 0.0
    for _ in range(200 * 120):  # two minutes of 200 requests a second
        now += 0.005
        made.record(drawn.random() < 0.05, False, now, now)
    assert made.state == "closed"


def test_another_nodes_opening_and_closing_are_taken_over() -> None:
    made = breaker()
    change = made.follow("open", 5.0, 9.0, 2, 5.1)
    assert change is not None
    assert (made.state, made.until, made.openings) == ("open", 9.0, 2)
    assert made.follow("open", 5.0, 9.0, 2, 5.2) is None
    assert made.follow("closed", 4.0, 0.0, 0, 5.2) is None, "it knows something newer"
    made.tick(9.0)
    assert made.follow("closed", 9.5, 0.0, 0, 9.6) is not None
    assert made.state == "closed"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"per": "target"}, "breaker.per"),
        ({"failures": ["404"]}, r"breaker.failures\[0\]"),
        ({"minimum_calls": 0}, "breaker.minimum_calls"),
        ({"minimum_calls": 1.5}, "breaker.minimum_calls"),
        ({"failure_rate": 101}, "breaker.failure_rate"),
        ({"window": "days"}, "breaker.window"),
    ],
)
def test_bad_config_names_the_field(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse({"breaker": fields})
