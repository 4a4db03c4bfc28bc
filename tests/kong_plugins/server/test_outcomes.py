"""Outcomes: each batch once, losses counted."""

from kong_plugins.server.columns import Kind, pack_rows
from kong_plugins.server.outcomes import REMEMBERED_BATCHES, Outcomes
from tests.kong_plugins.server.rows import ROW


def test_the_sink_gets_what_was_counted() -> None:
    told: list[dict[Kind, int]] = []
    outcomes = Outcomes(lambda counts: told.append(dict(counts)))
    refused = [*ROW[:8], "kgate", "ip_blocked", *ROW[10:]]
    assert outcomes.take("w1-1", 0, pack_rows([ROW, refused, ROW]))
    assert outcomes.rows == 3
    kind = ("food", "checkout", "2")
    assert told == [{Kind(*kind, "service", ""): 2, Kind(*kind, "kgate", "ip_blocked"): 1}]


def test_a_batch_that_is_sent_again_counts_once() -> None:
    outcomes = Outcomes()
    assert outcomes.take("w1-1", 3, pack_rows([ROW]))
    assert not outcomes.take("w1-1", 3, pack_rows([ROW]))
    assert (outcomes.rows, outcomes.dropped) == (1, 3)


def test_what_was_given_up_and_came_all_the_same_is_not_lost() -> None:
    """A server that stood still reads later what Kong's worker had given up."""
    told: list[int] = []
    outcomes = Outcomes(lost=told.append)
    outcomes.take("w1-1", 0, pack_rows([ROW, ROW]))
    outcomes.take("w1-4", 7, pack_rows([ROW]), ["w1-1", 2, "w1-2", 4])  # and one that was never sent
    assert (outcomes.rows, outcomes.dropped, told) == (3, 5, [0, 5])


def test_what_was_counted_as_lost_does_not_count_when_it_comes() -> None:
    outcomes = Outcomes()
    outcomes.take("w1-2", 2, b"", ["w1-1", 2])
    assert not outcomes.take("w1-1", 0, pack_rows([ROW, ROW]))
    outcomes.take(
        "w1-3", 2, b"", ["w1-1", 2]
    )  # said again: the batch that said it first was given up as well
    assert (outcomes.rows, outcomes.dropped) == (0, 2)


def test_remembered_batches_are_bounded() -> None:
    outcomes = Outcomes()
    for number in range(REMEMBERED_BATCHES + 10):
        outcomes.take(f"b{number}", 0, b"")
    assert len(outcomes._seen) == REMEMBERED_BATCHES
