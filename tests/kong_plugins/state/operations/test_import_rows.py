"""Reading imports: whatever the input is, it ends in rows and problems that name their line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations import blocks, imports
from kong_plugins.state.operations.import_rows import BadRows, Problems, read_rows

cells = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["10.0.0.1", "::1/128", "10m", "99999999999999", "1e308", "2999-01-01",
                     "9999-12-31T23:59:59-12:00", "2030-01-01T00:00+14:00",
                     '"', '"a\nb"', "\0", "#", "user:k", ""]),
)  # fmt: skip
lines = st.lists(st.lists(cells, max_size=5).map(",".join), max_size=6)
headers = st.sampled_from(["target,reason,ttl,expires", "ip", "expires,cidr", "\ufeffTARGET ,ttl", "", "x"])


@given(headers, lines)
def test_any_input_ends_in_rows_and_problems(header: str, body: list[str]) -> None:
    problems = Problems()
    rows = list(read_rows([header, *body], 1.8e9, problems))
    for row in rows:
        assert row.line >= 1
        assert row.text
        assert row.expires is None or row.expires > 1.8e9
    store = MemoryStore(clock=lambda: 1.8e9)
    refusal: ValueError | None = None
    try:
        report = imports.import_blocks(store, "feed", [header, *body], actor="kim")
    except ValueError as error:
        refusal = error
    if refusal is None:
        assert len(list(blocks.entries(store))) == report.size > 0
    else:
        assert store.version() == 0
        assert isinstance(refusal, BadRows) or str(refusal) == "there are no rows to import"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["target", "10.0.0.1", "x" * 200_000], "line 3: field larger"),
        (["ip,reason", '10.0.0.1,"a', "10.0.0.2,b"], "line 3: unexpected end of data"),
        (["ip,reason", '10.0.0.1,"a" b', "10.0.0.2,b"], "line 2: ',' expected after"),
        (['10.0.0.1,"a', "10.0.0.2,b"], "line 1: unexpected end of data"),
        (["ip,reason", '10.0.0.1,"a', '10.0.0.2,b"'], "line 3: reason: at most 200 printable"),
    ],
)
def test_a_csv_that_is_none_loses_no_row(lines: list[str], says: str) -> None:
    """A quote that nobody closes would swallow the rows after it."""
    problems = Problems()
    list(read_rows(lines, 0.0, problems))
    with pytest.raises(BadRows, match=says):
        problems.check()


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("198.18.0.0/24 ; SBL1", ["198.18.0.0/24"]),
        ("; a note", []),
        ("192.0.2.1 # a note", ["192.0.2.1"]),
        ("192.0.2.1 192.0.2.2\t2001:db8::1", ["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        ("user:a b", ["user:a b"]),
        ("user:a#b;c", ["user:a#b;c"]),
    ],
)
def test_what_a_plain_line_says(line: str, targets: list[str]) -> None:
    assert [row.text for row in read_rows(["# list", line], 0.0, Problems())] == targets


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["10.0.0.1,bad guy", "10.0.0.0/24"],
            [(1, "10.0.0.1", "bad guy", None), (2, "10.0.0.0/24", None, None)],
        ),
        (
            ["10.0.0.1, a ,1h", "::1,,2030-01-01"],
            [(1, "10.0.0.1", "a", 1.8e9 + 3600), (2, "::1", None, 1893456000.0)],
        ),
        (["# exported", "", '"target","reason"', '10.0.0.1,"a, b"'], [(4, "10.0.0.1", "a, b", None)]),
        (["\ufeff# x", "ip", "10.0.0.1"], [(3, "10.0.0.1", None, None)]),
        (["ip,reason", "# a, b", "10.0.0.1,#1", " ;"], [(3, "10.0.0.1", "#1", None)]),
        (["reason,ip", "#1,10.0.0.1", "# a"], [(2, "10.0.0.1", "#1", None)]),
        (["user:a,b"], [(1, "user:a,b", None, None)]),
        (["x" * 200_000 + ","], [(1, "x" * 200_000 + ",", None, None)]),
    ],
)
def test_csv_with_and_without_a_header(lines: list[str], told: list[tuple[object, ...]]) -> None:
    problems = Problems()
    assert [tuple(row) for row in read_rows(lines, 1.8e9, problems)] == told
    problems.check()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("10.0.0.1,x,1999-01-01", "expires: 1999-01-01 is over"),
        ("10.0.0.1,x,soon", "neither"),
        ("10.0.0.1,x,1893456000000", "is after the year 9999: Unix seconds, not milliseconds"),
        ("10.0.0.1,x,1e300", "is after the year 9999"),
        ("10.0.0.1,x,1h,y", "more than ADDRESS,REASON,END"),
    ],
)
def test_bad_cells_without_a_header(line: str, says: str) -> None:
    problems = Problems()
    assert list(read_rows([line], 1e9, problems)) == []
    with pytest.raises(BadRows, match=says):
        problems.check()
