from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.gcra import (
    EXCHANGE_NS,
    MAX_DEBT,
    charge,
    decide,
    full_after,
    remaining,
    retry_after,
)

SECOND = 10**9
NOW = 1_700_000_000 * SECOND

capacities = st.integers(1, 50)
emissions = st.integers(1, 10 * SECOND)
steps = st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(1, 5)), max_size=60)


@pytest.mark.parametrize(
    ("tat", "cost", "expected"),
    [
        (0, 1, (True, NOW + SECOND)),  # never seen
        (NOW - 1, 1, (True, NOW + SECOND)),  # paid back
        (NOW + 4 * SECOND, 1, (True, NOW + 5 * SECOND)),  # the last of the burst
        (NOW + 4 * SECOND + 1, 1, (False, NOW + 4 * SECOND + 1)),  # a nanosecond too early
        (0, 5, (True, NOW + 5 * SECOND)),  # the burst at once
        (0, 6, (False, NOW)),  # never
        (NOW + 5 * SECOND, 0, (True, NOW + 5 * SECOND)),  # costs nothing
    ],
)
def test_a_limit_of_five_a_burst_and_one_a_second(tat: int, cost: int, expected: tuple[bool, int]) -> None:
    assert decide(tat, NOW, SECOND, 5 * SECOND, cost) == expected


@given(capacity=capacities, emission=emissions, steps=steps)
def test_never_more_than_burst_plus_rate_times_time(
    capacity: int, emission: int, steps: list[tuple[int, int]]
) -> None:
    """In every window that begins at a request, not only from the start."""
    now, tat = NOW, 0
    admitted = []
    for wait, cost in steps:
        now += wait
        yes, tat = decide(tat, now, emission, capacity * emission, cost)
        if yes:
            admitted.append((now, cost))
    for first in range(len(admitted)):
        used = 0
        for time, cost in admitted[first:]:
            used += cost
            assert used * emission <= capacity * emission + (time - admitted[first][0])


@given(capacity=capacities, emission=emissions, steps=steps, cost=st.integers(1, 50))
def test_never_starves(capacity: int, emission: int, steps: list[tuple[int, int]], cost: int) -> None:
    """Whatever was before, and however often a client was refused, `retry_after` is true and the least."""
    now, tat = NOW, 0
    burst = capacity * emission
    for wait, spent in steps:
        now += wait
        _, tat = decide(tat, now, emission, burst, spent)
    wait_for = retry_after(tat, now, emission, burst, cost)
    if cost > capacity:
        assert wait_for is None
        return
    assert wait_for is not None
    assert wait_for <= cost * emission
    assert decide(tat, now + wait_for, emission, burst, cost)[0]
    if wait_for:
        assert not decide(tat, now + wait_for - 1, emission, burst, cost)[0]


@given(capacity=capacities, emission=emissions, steps=steps)
def test_remaining_is_what_would_be_admitted(
    capacity: int, emission: int, steps: list[tuple[int, int]]
) -> None:
    now, tat = NOW, 0
    burst = capacity * emission
    for wait, spent in steps:
        now += wait
        _, tat = decide(tat, now, emission, burst, spent)
    left = remaining(tat, now, emission, burst)
    for _ in range(left):
        yes, tat = decide(tat, now, emission, burst)
        assert yes
    assert not decide(tat, now, emission, burst)[0]
    assert remaining(tat, now, emission, burst) == 0
    assert remaining(tat, now + full_after(tat, now), emission, burst) == capacity


@pytest.mark.parametrize("back", [1, SECOND, 3600 * SECOND, 10**5 * SECOND])
def test_a_clock_that_goes_back_shuts_nobody_out_for_long(back: int) -> None:
    burst = 5 * SECOND
    _, tat = decide(0, NOW, SECOND, burst, 5)
    now = NOW - back
    _, tat = decide(tat, now, SECOND, burst)  # refused, but bounded
    assert tat - now <= MAX_DEBT * (burst + EXCHANGE_NS)
    wait_for = retry_after(tat, now, SECOND, burst)
    assert wait_for is not None
    assert decide(tat, now + wait_for, SECOND, burst)[0]


def test_a_clock_that_goes_forward_gives_one_burst() -> None:
    burst = 5 * SECOND
    tat, admitted = 0, 0
    for now in [NOW] * 20 + [NOW + 10**6 * SECOND] * 20:
        yes, tat = decide(tat, now, SECOND, burst)
        admitted += yes
    assert admitted == 10


def test_what_was_used_elsewhere_counts_from_now_or_on_top() -> None:
    assert charge(0, NOW, SECOND) == NOW + SECOND
    assert charge(NOW + SECOND, NOW, SECOND) == NOW + 2 * SECOND
