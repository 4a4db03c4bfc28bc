"""Regular expressions that Kong's schema takes and its router does not."""

from __future__ import annotations

from typing import Any

import pytest

from decl.kong import expressions
from decl.routing import Router


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("/a(?=b)", "look-around"),
        ("/a(?!b)", "look-around"),
        ("(?<=a)b", "look-around"),
        (r"/(a)\1", "backreferences"),
        ("/(?>a)", "unrecognized flag"),
        ("/(?#a)", "unrecognized flag"),
        (r"/a\K", "unrecognized escape"),
        ("/(?P<a>x)(?P=a)", "backreferences"),
        (r"/\p{L}{x}", "repetition"),
        ("/a{", "repetition"),
        ("/a{,3}", "repetition"),
        ("/(", ""),
    ],
)
def test_refused(pattern: str, why: str) -> None:
    found = expressions.bad_regex(pattern)
    assert found is not None
    assert why in found


@pytest.mark.parametrize(
    "pattern",
    [
        "/a{2}",
        "/a{2,}b{2,3}",
        r"/\d+[(?=]",
        "/[]{]",
        "/[^]{]",
        r"/\{\(\?=",
        "/(?:x|y)$",
        "/(?P<a>x)",
        "/x(?i)a",
        r"/\p{L}+\z",
        r"/\x{41}[\pN[:alpha:]]",
        r"/\P{Lu}{2}",
        "",
    ],
)
def test_taken(pattern: str) -> None:
    assert expressions.bad_regex(pattern) is None


@pytest.mark.parametrize(
    "route",
    [
        {"paths": [r"~/x(?i)a"]},
        {"paths": ["~/(?<a>x)"]},
        {"headers": {"x": ["~*(?<a>x)", "~*[[a]", "~*a(?i)"]}},
    ],
)
def test_what_is_taken_can_be_routed(route: dict[str, Any]) -> None:
    assert expressions.refused(route) is None
    Router([{"id": "r", **route}])


def test_which_fields_are_looked_at() -> None:
    assert expressions.refused({"paths": ["/a{", "/(?=a)"], "headers": {"x": ["(?=a)"]}}) is None
    assert "a{" in (expressions.refused({"paths": ["/", "~/a{"]}) or "")
    assert "(?=b)" in (expressions.refused({"headers": {"x": ["a", "~*(?=B)"]}}) or "")
    assert expressions.refused({"headers": {"x": []}}) == "Router Expression failed validation: expected term"
