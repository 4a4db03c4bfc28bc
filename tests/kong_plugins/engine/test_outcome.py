"""Memos: words of filters that come back with the outcome."""

import pytest

from kong_plugins.engine.outcome import memo_of


@pytest.mark.parametrize(
    ("memo", "found"),
    [
        ("u=k1", "k1"),
        ("a=1 u=k1 b=2", "k1"),
        ("u=", ""),
        ("uu=k1", None),
        ("", None),
        ("x u", None),
        ("u=a=b", "a=b"),
    ],
)
def test_a_word_is_found_by_its_name(memo: str, found: str | None) -> None:
    assert memo_of(memo, "u") == found
