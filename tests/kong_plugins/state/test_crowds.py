"""The directory of crowded numbers says where the rows of a number's place begin."""

from __future__ import annotations

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state import crowds
from kong_plugins.state.crowds import Crowds, build_crowds
from kong_plugins.state.tables import FormatError

MOST = (1 << 64) - 1
numbers = st.builds(
    lambda prefix, rest: prefix << 32 | rest,
    st.sampled_from([0, 1, 0x20010DB8, 0x20010DB9, 0x2A000000, 0xFFFFFFFF]),
    st.one_of(st.integers(0, 3), st.integers(0, 0xFFFFFFFF)),
)


def opened(held: list[int]) -> Crowds:
    sections = {name: memoryview(data) for name, data in build_crowds("n", held).items()}
    return Crowds(sections, "n", len(held))


@pytest.mark.parametrize("most", [1, 3, 4096])
@given(held=st.sets(numbers, max_size=40), asked=st.lists(numbers, min_size=1, max_size=10))
def test_a_rank_is_found_in_the_rows_of_its_place(held: set[int], asked: list[int], most: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(crowds, "MAX_PREFIXES", most)
        rows = sorted(held)
        found = opened(rows)
    assert len(found.starts) <= most
    for number in [*rows, *asked]:
        start = found.starts.get(number >> found.cut)
        if start is None:
            assert number not in held
            continue
        place = start + (number >> found.fine & found.mask)
        begin, end = found.places[place], found.places[place + 1]
        assert bisect_right(rows, number, begin, end) == bisect_right(rows, number)


def test_crowded_rows_are_spread() -> None:
    rows = sorted(prefix << 32 | site << 16 for prefix in range(7, 500, 7) for site in range(0, 60_000, 600))
    found = opened(rows)
    assert max(found.places[row + 1] - found.places[row] for row in range(len(found.places) - 1)) <= 16


def test_an_image_of_before_has_none() -> None:
    assert Crowds({}, "n", 3).starts == {}


@pytest.mark.parametrize("name", ["n.crowds", "n.crowd"])
def test_what_does_not_fit_is_refused(name: str) -> None:
    sections = {key: memoryview(data) for key, data in build_crowds("n", [1, 2, MOST]).items()}
    sections[name] = sections[name][:8]
    with pytest.raises(FormatError, match=r"n\.crowd"):
        Crowds(sections, "n", 3)
