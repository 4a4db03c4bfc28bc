"""docs/sandbox.md says what the case files say; the suite's own tools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conformance import case_files, docs
from tests.sandbox.conformance.match import problems
from tests.sandbox.conformance.not_there import NOT_THERE


def test_the_documentation_is_up_to_date() -> None:
    assert docs.DOCS.read_text() == docs.render(), "python -m tests.sandbox.conformance.docs"


def test_what_is_not_there_belongs_to_an_area_and_has_a_reason() -> None:
    areas = {case.area for case in case_files.load()} | {"node"}
    assert {row.area for row in NOT_THERE} <= areas
    assert all(row.what and row.instead for row in NOT_THERE)
    assert len({row.what for row in NOT_THERE}) == len(NOT_THERE)


@pytest.mark.parametrize(
    ("want", "got", "right"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": "<absent>"}, {}, True),
        ({"a": "<absent>"}, {"a": None}, False),
        ({"a": "<any>"}, {"a": 0}, True),
        ({"a": "<any>"}, {"a": None}, False),
        ({"a": None}, {"a": None}, True),
        (True, 1, False),
        (1, 1.0, True),
        ("re:^a.c$", "abc", True),
        ("re:^a.c$", "xabc", False),
        ([1, {"a": 1}], [1, {"a": 1, "b": 2}], True),
        ([1], [1, 2], False),
        (["<has>", {"a": 1}], [{"a": 2}, {"a": 1}], True),
        (["<has>", {"a": 3}], [{"a": 2}, {"a": 1}], False),
        ({"a": 1}, [1], False),
        ([1], {"a": 1}, False),
    ],
)
def test_match(want: Any, got: Any, right: bool) -> None:
    assert (problems(want, got) == []) is right


def test_rows_make_cases() -> None:
    assert case_files.fill("$0 and $up1", {"0": 3, "up1": "h:1"}) == "3 and h:1"
    assert case_files.fill("$0", {"0": {"a": 1}}) == {"a": 1}
    assert case_files.fill("~/p/[0-9]+$ $unknown", {}) == "~/p/[0-9]+$ $unknown"
