"""Outcomes: each batch once, losses counted."""

from kong_plugins.server.outcomes import REMEMBERED_BATCHES, Outcome, Outcomes

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
    outcomes = Outcomes(seen.append)
    assert outcomes.take("w1-1", 0, [ROW, ROW])
    assert outcomes.rows == 2
    assert seen[0].upstream_status == "502, 200"
    assert seen[0].ip == "203.0.113.9"


def test_a_batch_that_is_sent_again_counts_once() -> None:
    outcomes = Outcomes()
    assert outcomes.take("w1-1", 3, [ROW])
    assert not outcomes.take("w1-1", 3, [ROW])
    assert (outcomes.rows, outcomes.dropped) == (1, 3)


def test_a_row_of_another_shape_is_counted_and_left_out() -> None:
    seen: list[Outcome] = []
    outcomes = Outcomes(seen.append)
    outcomes.take("w1-1", 0, [ROW[:-1], ROW])
    assert (outcomes.rows, outcomes.malformed, len(seen)) == (1, 1, 1)


def test_remembered_batches_are_bounded() -> None:
    outcomes = Outcomes()
    for number in range(REMEMBERED_BATCHES + 10):
        outcomes.take(f"b{number}", 0, [])
    assert len(outcomes._seen) == REMEMBERED_BATCHES
