"""The split as statistics, with fixed users: it holds always or never."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import pytest

from kong_plugins.canary_router.bucket import BUCKETS, bucket, hash_key, threshold

USERS = [f"https://auth.example|user-{n}" for n in range(20_000)]


def buckets(salt: str, users: list[str] = USERS) -> list[int]:
    key = hash_key(salt)
    return [bucket(key, user) for user in users]


def chi_square(counts: list[int]) -> float:
    """Probability of counts that are at least as uneven, by Wilson and Hilferty's cube root."""
    mean, free = sum(counts) / len(counts), len(counts) - 1
    statistic = sum((count - mean) ** 2 / mean for count in counts)
    scale = 2 / (9 * free)
    return 1 - NormalDist().cdf(((statistic / free) ** (1 / 3) - (1 - scale)) / scale**0.5)


FOUND = buckets("checkout-v2")


@pytest.mark.parametrize("percent", range(1, 101))
def test_every_percent_is_within_binomial_bounds(percent: int) -> None:
    share = percent / 100
    chosen = sum(each < threshold(percent) for each in FOUND)
    # 100 percents are looked at: 4.5 standard deviations are passed by chance once in 1,000 such tests
    assert abs(chosen - share * len(USERS)) <= 4.5 * (len(USERS) * share * (1 - share)) ** 0.5


def test_buckets_are_uniform() -> None:
    cells = [0] * 100
    for each in FOUND:
        cells[each * 100 // BUCKETS] += 1
    assert chi_square(cells) > 0.001


def test_one_user_is_uniform_over_salts() -> None:
    """Nobody is the guinea pig of every canary."""
    cells = [0] * 20
    for n in range(4000):
        cells[bucket(hash_key(f"canary-{n}"), USERS[0]) * 20 // BUCKETS] += 1
    assert chi_square(cells) > 0.001


@pytest.mark.parametrize("other", ["checkout-v3", "checkout-v20", "search", "CHECKOUT-V2"])
def test_two_canaries_are_not_correlated(other: str) -> None:
    theirs, mean = buckets(other), (BUCKETS - 1) / 2
    spread = (BUCKETS**2 - 1) / 12
    correlation = sum((a - mean) * (b - mean) for a, b in zip(FOUND, theirs, strict=True)) / (
        spread * len(USERS)
    )
    assert abs(correlation) < 4 / len(USERS) ** 0.5
    both = sum(a < 1000 and b < 1000 for a, b in zip(FOUND, theirs, strict=True))
    assert abs(both - 200) < 4 * 200**0.5


def test_names_that_count_up_are_spread_as_well() -> None:
    """Subjects are mostly numbers: neighbours must not share a bucket."""
    near = buckets("v2", [str(n) for n in range(20_000)])
    rises = sum(a < b for a, b in pairwise(near))
    assert abs(rises - 10_000) < 4 * (20_000 / 12) ** 0.5


def test_a_rise_in_a_hundred_steps_loses_nobody() -> None:
    chosen: set[int] = set()
    for percent in range(101):
        now = {n for n, each in enumerate(FOUND) if each < threshold(percent)}
        assert chosen <= now
        chosen = now
    assert len(chosen) == len(USERS)
