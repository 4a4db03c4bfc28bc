"""A table ranks as a bisection of the whole array does, and refuses sections that are not one."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.tables import FormatError, Table, build_table

MOST = (1 << 64) - 1
# crowds, gaps, and both ends of the range
numbers = st.lists(
    st.one_of(st.integers(0, 40), st.integers(0, MOST), st.sampled_from([0, 1 << 63, MOST - 1, MOST])),
    max_size=60,
).map(sorted)


def sections(values: list[int], kind: Literal["I", "Q"] = "Q") -> dict[str, memoryview]:
    return {name: memoryview(held) for name, held in build_table("t", kind, values).items()}


@given(numbers, st.lists(st.integers(0, MOST), max_size=5))
def test_rank_and_first_are_a_bisection(values: list[int], others: list[int]) -> None:
    table = Table(sections(values), "t", "Q")
    asked = {*others, *values, *(v + 1 for v in values), *(max(0, v - 1) for v in values)}
    for number in asked:
        assert table.rank(number) == bisect_right(values, number)
        assert table.first(number) == bisect_left(values, number)


def test_a_large_table() -> None:
    values = [number * number for number in range(50_000)]
    table = Table(sections(values, "I"), "t", "I")
    for number in range(0, 2_500_000_000, 1_234_567):
        assert table.rank(number) == bisect_right(values, number)


@pytest.mark.parametrize(
    "damage",
    [
        {"t": b""},
        {"t": bytes(7)},
        {"t.dir": b""},
        {"t.dir": bytes(20)},
        {"t.dir": array("Q", [0, 0]).tobytes() + array("I", [0, 9]).tobytes()},
        {"t.dir": array("Q", [0, 64]).tobytes() + array("I", [1, 3]).tobytes()},
    ],
)
def test_what_is_no_table(damage: dict[str, bytes]) -> None:
    held = sections([1, 2, 3]) | {name: memoryview(part) for name, part in damage.items()}
    with pytest.raises(FormatError):
        Table(held, "t", "Q")
    for name in damage:
        without = {other: part for other, part in held.items() if other != name}
        with pytest.raises(FormatError, match="missing"):
            Table(without, "t", "Q")
