"""BoundedCache against a plain dict."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.identity.cache import BoundedCache


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 12), st.integers(1, 9))),
)
def test_bounded_and_never_wrong(limit, steps):
    cache = BoundedCache(limit)
    truth = {}
    for step, key, value in steps:
        if step == "put":
            cache.put(key, value)
            truth[key] = value
            assert cache.get(key) == value
        else:
            assert cache.get(key) in (truth.get(key), None)
        assert len(cache) <= 2 * limit


def test_what_is_used_stays():
    cache = BoundedCache(10)
    cache.put("hot", 1)
    for number in range(500):
        cache.put(number, number + 1)
        if number % 5 == 0:
            assert cache.get("hot") == 1
    assert cache.get(3) is None


def test_limit():
    with pytest.raises(ValueError, match="limit"):
        BoundedCache(0)
