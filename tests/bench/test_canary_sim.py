"""A small run of the simulation that bench/canary_sim.py makes: same seeds, fewer runs."""

from __future__ import annotations

import random

import pytest

from bench import canary_sim


def test_bad_releases_are_given_up_soon() -> None:
    times = [canary_sim.bad_run(seed) for seed in range(1000, 1005)]
    found = sorted(one for one in times if one is not None)
    assert len(found) == len(times)
    assert found[len(found) // 2] <= 60


@pytest.mark.parametrize("weather", canary_sim.GOOD)
def test_good_releases_are_kept(weather: str) -> None:
    assert [canary_sim.good_run(weather, seed, 120) for seed in range(4)] == [None] * 4


def test_a_difference_is_needed_for_the_test_to_mean_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another null hypothesis the same run aborts: the good runs are not kept by an analyst that sleeps."""
    plan = {**canary_sim.PLAN, "abort_if": {"false_abort": 0.1, "error_difference": 0, "min_samples": 1}}
    monkeypatch.setattr(canary_sim, "PLAN", plan)
    assert canary_sim.bad_run(1000, 0.01) is not None


@pytest.mark.parametrize(("count", "share"), [(50, 0.005), (450, 0.3), (25, 0.9), (10, 0.0), (10, 1.0)])
def test_binomial(count: int, share: float) -> None:
    dice = random.Random(5)
    found = [canary_sim.binomial(dice, count, share) for _ in range(3000)]
    assert 0 <= min(found) <= max(found) <= count
    assert abs(sum(found) / 3000 - count * share) <= 4 * (count * share * (1 - share) / 3000) ** 0.5
