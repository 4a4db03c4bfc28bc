"""Sketches: of attackers' choice of keys in fixed memory."""

from __future__ import annotations

import sys

import pytest

from kong_plugins.abuse_guard.sketch import CountMin, Distinct

SEED = b"s" * 16


@pytest.mark.parametrize("count", [0, 1, 20, 1000, 50_000])
def test_how_many_different_ones_to_about_2_percent(count: int) -> None:
    made = Distinct(SEED)
    for number in range(count):
        for _ in range(2 if number % 7 else 1):
            made.add(f"ip {number}")
    assert made.count() == pytest.approx(count, rel=0.02, abs=1)


def test_more_than_it_can_tell_apart_are_many() -> None:
    made = Distinct(SEED, bits=64)
    for number in range(10_000):
        made.add(str(number))
    assert 64 <= made.count() < 1000


def test_how_often_is_never_too_low_and_not_much_too_high() -> None:
    made = CountMin(SEED)
    for number in range(20_000):
        made.add(f"ip {number % 5000}")
    for _ in range(700):
        made.add("ip often")
    assert made.total == 20_700
    assert 700 <= made.count("ip often") <= 700 + 2 * made.total / 8192
    counts = [made.count(f"ip {number}") for number in range(5000)]
    assert min(counts) >= 4
    assert sum(count > 4 + 2 * made.total / 8192 for count in counts) < 50
    assert made.count("ip never") <= 2 * made.total / 8192


def test_nobody_who_does_not_know_the_seed_knows_whose_counts_are_shared() -> None:
    one, other = (Distinct(seed, bits=64) for seed in (SEED, b"t" * 16))
    together = [text for text in map(str, range(2000)) if _place(one, text) == _place(one, "me")]
    assert together
    assert len({_place(other, text) for text in together}) > 10


def _place(made: Distinct, text: str) -> int:
    """Which bit a key sets."""
    alone = Distinct(made._seed, bits=64)  # its only secret
    alone.add(text)
    return int.from_bytes(alone._map, "little").bit_length()


def test_memory_is_fixed_and_any_text_is_taken() -> None:
    made = CountMin(SEED, width=64)
    before = sys.getsizeof(made._cells)
    for number in range(5000):
        made.add(f"\udcff{number}" * 50)
    assert sys.getsizeof(made._cells) == before
