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
                     "9999-12-31T23:59:59-12:00",
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


def test_what_csv_does_not_take_is_a_problem() -> None:
    problems = Problems()
    list(read_rows(["target", "10.0.0.1", "x" * 200_000], 0.0, problems))
    with pytest.raises(BadRows, match="line 3: field larger"):
        problems.check()
