import pytest
from hypothesis import given
from hypothesis import strategies as st

from decl.findings import Finding
from decl.lint import comments

RULES = {"one", "two-three"}


def off(text: str, line: int, rule: str) -> bool:
    return comments.read("f", text.encode(), RULES).covers(Finding("f", line, 1, "error", rule, ""))


@pytest.mark.parametrize(
    ("text", "line", "rule", "expected"),
    [
        ("a: 1 # kgate disable-line one", 1, "one", True),
        ("a: 1 # kgate disable-line one", 1, "two-three", False),
        ("a: 1 # kgate: disable-line one", 1, "one", True),
        ("a: 1 # kgate: disable-line one", 1, "two-three", False),
        ("a: 1 # kgate disable-line", 1, "two-three", True),
        ("a: 1 # kgate disable-line one, two-three", 1, "two-three", True),
        ("a: 1 # kgate disable-line one two-three", 1, "two-three", True),
        ("a: 1 # kgate disable-line one", 2, "one", False),
        ("  # kgate disable-line one\na: 1", 2, "one", True),
        ("  # kgate disable-line one\na: 1", 1, "one", False),
        ("# kgate disable one\na\nb\n# kgate enable one\nc", 3, "one", True),
        ("# kgate disable one\na\nb\n# kgate enable one\nc", 5, "one", False),
        ("# kgate disable one\na\nb\n# kgate enable\nc", 5, "one", False),
        ("# kgate disable one\na\nb\n# kgate enable two-three\nc", 5, "one", True),
        ("a\n# kgate disable-file one", 1, "one", True),
        ("a: x#kgate disable-line one", 1, "one", False),
        ("a: 1 # kgate disabled-line one", 1, "one", False),
        ("a: 1 # other kgate disable-line one", 1, "one", False),
    ],
)
def test_what_is_off(text: str, line: int, rule: str, expected: bool) -> None:
    assert off(text, line, rule) is expected


@given(st.text(alphabet="# kgatedisbln-fm,\n\r\té\x00:", max_size=80).map("# kgate disable".__add__))
def test_any_text_is_taken(text: str) -> None:
    found = comments.read("f", text.encode("utf-8"), RULES)
    for finding in found.findings:
        assert finding.rule == "unknown-rule"
        assert 1 <= finding.line <= len(text.splitlines())


def test_the_place_of_an_unknown_rule_behind_a_byte_order_mark() -> None:
    (found,) = comments.read("f", "\ufeffa: 1 # kgate disable-line nope".encode(), RULES).findings
    assert (found.line, found.col) == (1, 27)
