"""Batches of outcomes: what is packed is read as it was, what is none is told; rows of adapters of before."""

import contextlib

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.server.columns import Batch, Kind, batch_of_packed, pack_rows, read_batch
from kong_plugins.server.outcomes import Outcomes
from tests.kong_plugins.server.rows import ROW

OLD = msgpack.packb([*ROW[1:], ROW[0]])


def test_rows_have_names() -> None:
    (row,) = read_batch(pack_rows([ROW])).outcomes()
    assert (row.route, row.upstream_status, row.milliseconds, row.ip) == (
        "checkout", "502, 200", "12", "203.0.113.9",
    )  # fmt: skip


def test_what_is_alike_is_sent_once() -> None:
    other = [*ROW[:7], "70000", *ROW[8:12], "2001:db8::1"]
    batch = read_batch(pack_rows([ROW, other, ROW]))
    assert len(batch.kinds) == 1
    assert [(row.milliseconds, row.ip) for row in batch.outcomes()] == [
        ("12", "203.0.113.9"), ("70000", "2001:db8::1"), ("12", "203.0.113.9"),
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["", "a", "b\udce9", "lease=x"]), min_size=10, max_size=10),
            st.integers(0, 2**32 - 1),
            st.text(max_size=40),
        ),
        max_size=20,
    )
)
def test_a_batch_that_is_packed_is_read_as_it_was(rows: list[tuple[list[str], int, str]]) -> None:
    packed = pack_rows(["id", *kind[:6], str(ms), *kind[6:], ip] for kind, ms, ip in rows)
    assert read_batch(packed).outcomes() == [(*kind[:6], str(ms), *kind[6:], ip) for kind, ms, ip in rows]


KIND = ["a"] * 10


@pytest.mark.parametrize(
    "columns",
    [
        [[KIND], b"\0\0", b"\0\0\0\0"],
        [[KIND], b"\0\0", b"\0\0\0\0", []],
        [[KIND], b"\0\0", b"\0\0\0", ["ip"]],
        [[KIND], b"\0", b"\0\0\0\0", ["ip"]],
        [[KIND], b"\1\0", b"\0\0\0\0", ["ip"]],
        [[KIND[1:]], b"\0\0", b"\0\0\0\0", ["ip"]],
        [["aaaaaaaaaa"], b"\0\0", b"\0\0\0\0", ["ip"]],
        [[[*KIND[1:], 5]], b"\0\0", b"\0\0\0\0", ["ip"]],
        [[KIND], b"\0\0", b"\0\0\0\0", "i"],
        [[KIND], b"\0\0", b"\0\0\0\0", [5]],
        [[KIND], [0], b"\0\0\0\0", ["ip"]],
        [[KIND], b"\0\0", b"\0\0\0\0", ["ip"], "x"],
        [[KIND], b"\0\0", b"\0\0\0\0", ["ip"], 0, 0],
        [],
        5,
        "text",
        None,
        {"a": 1},
    ],
    ids=repr,
)
def test_what_is_no_batch_is_told_and_counts_as_one(
    columns: object, caplog: pytest.LogCaptureFixture
) -> None:
    packed = msgpack.packb(columns)
    with pytest.raises(ValueError, match=r"no batch of outcomes|addresses|kind"):
        read_batch(packed)
    outcomes = Outcomes()
    assert outcomes.take("w1-1", 0, packed)
    assert (outcomes.rows, outcomes.malformed) == (0, 1)
    assert "outcomes" in caplog.text


@given(st.binary(max_size=60))
def test_any_bytes_are_a_batch_or_a_value_error(packed: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(read_batch(packed), Batch)
    assert batch_of_packed(packed).malformed >= 0


@pytest.mark.parametrize(
    ("memo", "leased"),
    [
        ("lease=canary_control", "canary_control"),
        ("sf=1:2 lease=", ""),
        ("sf=1:2 lease=a", "a"),
        ("lease=a sf=1:2", None),  # the adapter's word is the last one
        ("xlease=a", None),
        ("", None),
    ],
)
def test_what_nobody_was_asked_for_is_a_kind_of_its_own(memo: str, leased: str | None) -> None:
    told: list[Kind] = []
    Outcomes(told.extend).take("w1-1", 0, pack_rows([[*ROW[:11], memo, ROW[12]]]))
    assert [kind.leased for kind in told] == [leased]


@pytest.mark.parametrize(
    "bad", [ROW[:-1], [*ROW, ""], [*ROW[:-1], 5], "row", None, {}, [], [[]] * 13], ids=repr
)
def test_a_row_of_another_shape_is_counted_and_left_out(bad: object) -> None:
    """Of adapters of before."""
    batch = batch_of_packed(msgpack.packb(bad) + OLD)
    outcomes = Outcomes()
    outcomes.take("w1-1", 0, batch.pack())
    assert (outcomes.rows, outcomes.malformed) == (1, 1)
    assert len(batch.outcomes()) == 1


@pytest.mark.parametrize("end", [b"\xc1", b"\x9d\xd9\xff", b"\xdd\xff\xff\xff\xff"])
def test_bytes_that_are_no_rows_end_the_batch(end: bytes) -> None:
    batch = batch_of_packed(OLD + end + OLD)
    assert len(batch.outcomes()) == 1
    assert batch.malformed == (end != b"\x9d\xd9\xff"), "of bytes that stop in the middle nobody knows"


def test_bytes_that_are_not_utf8_are_kept() -> None:
    told: list[Kind] = []
    row = [b"r1", b"caf\xe9", *[b""] * 11]
    packed = batch_of_packed(msgpack.packb([*row[1:], row[0]], use_bin_type=False)).pack()
    Outcomes(told.extend).take("w1-1", 0, packed)
    (found,) = read_batch(packed).outcomes()
    assert found.route == told[0].route == "caf\udce9"
