"""Outcomes: each batch once, losses counted."""

import msgpack
import pytest

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.outcomes import REMEMBERED_BATCHES, Outcomes, pack_rows

ROW = [
    "r1",
    "checkout",
    "order",
    "food",
    "200",
    "502, 200",
    "2",
    "12",
    "service",
    "",
    "",
    "memo",
    "203.0.113.9",
]


def test_rows_reach_the_sink_with_their_names() -> None:
    seen: list[Outcome] = []
    outcomes = Outcomes(seen.extend)
    assert outcomes.take("w1-1", 0, pack_rows([ROW, ROW]))
    assert outcomes.rows == 2
    assert seen[0].upstream_status == "502, 200"
    assert seen[0].ip == "203.0.113.9"


def test_a_batch_that_is_sent_again_counts_once() -> None:
    outcomes = Outcomes()
    assert outcomes.take("w1-1", 3, pack_rows([ROW]))
    assert not outcomes.take("w1-1", 3, pack_rows([ROW]))
    assert (outcomes.rows, outcomes.dropped) == (1, 3)


@pytest.mark.parametrize(
    "bad", [ROW[:-1], [*ROW, ""], [*ROW[:-1], 5], "row", None, {}, [], [[]] * 13], ids=repr
)
def test_a_row_of_another_shape_is_counted_and_left_out(bad: object) -> None:
    seen: list[Outcome] = []
    outcomes = Outcomes(seen.extend)
    outcomes.take("w1-1", 0, msgpack.packb(bad) + pack_rows([ROW]))
    assert (outcomes.rows, outcomes.malformed, len(seen)) == (1, 1, 1)


@pytest.mark.parametrize("end", [b"\xc1", b"\x9d\xd9\xff", b"\xdd\xff\xff\xff\xff"])
def test_bytes_that_are_no_rows_end_the_batch(end: bytes) -> None:
    outcomes = Outcomes()
    assert outcomes.take("w1-1", 0, pack_rows([ROW]) + end + pack_rows([ROW]))
    assert outcomes.rows == 1


def test_bytes_that_are_not_utf8_are_kept() -> None:
    seen: list[Outcome] = []
    row = [b"r1", b"caf\xe9", *[b""] * 11]
    Outcomes(seen.extend).take("w1-1", 0, msgpack.packb([*row[1:], row[0]], use_bin_type=False))
    assert seen[0].route == "caf\udce9"


def test_remembered_batches_are_bounded() -> None:
    outcomes = Outcomes()
    for number in range(REMEMBERED_BATCHES + 10):
        outcomes.take(f"b{number}", 0, b"")
    assert len(outcomes._seen) == REMEMBERED_BATCHES
