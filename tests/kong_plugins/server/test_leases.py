"""The leases of a process: given with an epoch, kept up by beats, and taken back all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from kong_plugins.engine.facts import parse_facts
from kong_plugins.engine.lease import UNBOUNDED, Condition, Lease
from kong_plugins.engine.verdict import PASS
from kong_plugins.server.leases import (
    AGAIN_SECONDS,
    BEAT_SECONDS,
    LATE_SECONDS,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Leases,
    beat_of,
)

FACTS = parse_facts([1, "r1", "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", "", "", ""])
LAST = (1 << 32) - 1


class Link:
    """A connection of the adapter."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.ended = False

    def beat(self, data: bytes) -> bool:
        if self.ended:
            return False
        size, found = int.from_bytes(data[:4], "big"), msgpack.unpackb(data[4:])
        assert size == len(data) - 4
        assert found == {"b": found["b"], "q": 0}
        self.heard.append(found["b"])
        return True

    def take(self) -> list[int]:
        """The epochs of the beats since the last time."""
        found, self.heard = self.heard, []
        return found


class Process:
    """Leases with a clock that a test moves. lease: what is found; stamp: of the keys; up: conditions that hold."""

    def __init__(self) -> None:
        self.now, self.stamp, self.lease = 100.0, 1, UNBOUNDED
        self.up: dict[str, bool] = {}
        self.looked: list[str] = []
        self.waiting: list[tuple[float, Callable[[], None]]] = []
        self.asked: list[Any] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.leases = Leases(self._find, self._still, lambda: self.stamp, self._later, clock=lambda: self.now)

    def _find(self, *asked: Any) -> Lease:
        self.asked.append(asked)
        self.meanwhile()
        return self.lease

    def _still(self, condition: Condition) -> bool:
        self.looked.append(condition.name)
        return self.up[condition.name]

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        assert seconds == BEAT_SECONDS
        self.waiting.append((self.now + seconds, call))

    def run(self, seconds: float) -> None:
        """Let time go by, and what waits be called when it is due."""
        until = self.now + seconds
        while self.waiting and self.waiting[0][0] <= until + 1e-9:
            due, call = self.waiting.pop(0)
            self.now = max(self.now, due)
            call()
            assert len(self.waiting) <= 1, "one beat at a time"
        self.now = max(self.now, until)

    def stand_still(self, seconds: float) -> None:
        """The process does not run; the beats that were due wait."""
        self.now += seconds

    def give(self, link: Link, seconds: float | None = None, *names: str) -> Any:
        if seconds is not None:
            self.lease = Lease(seconds, tuple(Condition(name, lambda _s, _n: True) for name in names))
            self.up.update({name: True for name in names if name not in self.up})
        return self.leases.give(link, "c", FACTS, PASS)

    @property
    def epoch(self) -> int:
        return self.leases.epoch


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [
        (3.0, 3000),
        (0.1234, 123),
        (UNBOUNDED.seconds, 10_000),
        (60.0, 10_000),
        (LONGEST_SECONDS, 10_000),
        (SHORTEST_SECONDS, 100),
        (SHORTEST_SECONDS - 0.001, 0),
        (0.0, 0),
    ],
)
def test_it_is_no_longer_than_it_may_be_and_no_shorter_than_it_is_worth(
    process: Process, link: Link, seconds: float, milliseconds: int
) -> None:
    given = process.give(link, seconds)
    assert given.milliseconds == milliseconds
    assert given.epoch == process.epoch
    assert given.until == process.now + (min(seconds, LONGEST_SECONDS) if milliseconds else AGAIN_SECONDS)
    assert process.asked == [("c", FACTS, PASS)]
    process.run(BEAT_SECONDS)
    assert bool(link.heard) is (milliseconds > 0)


def test_a_lease_that_was_not_given_makes_no_beats(process: Process, link: Link) -> None:
    process.give(link, 0.0)
    assert process.waiting == []
    process.run(1.0)
    assert link.heard == []


def test_a_holder_hears_beats_while_one_of_its_leases_lasts_and_then_no_more(
    process: Process, link: Link
) -> None:
    process.give(link, 1.0)
    process.run(0.5)
    assert link.take() == [process.epoch] * 20
    process.give(link, 0.2)
    process.run(0.49)
    assert link.take() == [process.epoch] * 19, "the longer one goes on"
    process.run(0.5)
    assert link.take() == []
    assert process.waiting == []
    process.give(link, 1.0)
    process.run(0.1)
    assert len(link.take()) == 4


def test_a_longer_lease_after_a_shorter_one_is_beaten_for(process: Process, link: Link) -> None:
    process.give(link, 0.2)
    process.give(link, 1.0)
    process.run(0.99)
    assert len(link.take()) == 39


def test_each_beat_comes_once_however_many_leases_there_are(process: Process, link: Link) -> None:
    other = Link()
    for _ in range(5):
        process.give(link, 1.0)
    process.give(other, 1.0)
    process.run(0.1)
    assert link.take() == other.take() == [process.epoch] * 4


def test_a_holder_that_ended_is_forgotten(process: Process, link: Link) -> None:
    other = Link()
    process.give(link, 10.0)
    process.give(other, 10.0)
    link.ended = True
    process.run(0.1)
    assert len(other.take()) == 4
    assert list(process.leases._holders) == [other]
    other.ended = True
    process.run(0.1)
    assert process.waiting == []


def test_what_changes_takes_all_back_at_once(process: Process, link: Link) -> None:
    process.give(link, 10.0)
    before = process.epoch
    process.leases.change()
    assert process.epoch == (before + 1) % (1 << 32)
    assert link.take() == [process.epoch]
    process.run(1.0)
    assert link.take() == [], "there is nothing left to vouch for"
    given = process.give(link)
    assert given.epoch == process.epoch != before
    process.run(BEAT_SECONDS)
    assert link.take() == [process.epoch]


def test_a_change_without_leases_is_another_epoch_all_the_same(process: Process) -> None:
    before = process.epoch
    process.leases.change()
    assert process.epoch != before


def test_the_last_epoch_is_followed_by_the_first(process: Process, link: Link) -> None:
    process.leases.epoch = LAST
    process.give(link, 10.0)
    process.leases.change()
    assert link.take() == [0]


def test_another_process_begins_with_another_epoch() -> None:
    assert len({Process().epoch for _ in range(8)}) == 8


def test_other_keys_are_noticed_by_the_next_beat(process: Process, link: Link) -> None:
    process.give(link, 10.0)
    before = process.epoch
    process.run(0.1)
    link.take()
    process.stamp = 2
    process.run(BEAT_SECONDS)
    assert link.take() == [process.epoch]
    assert process.epoch != before
    process.give(link)
    now = process.epoch
    process.run(1.0)
    assert process.epoch == now, "once"


def test_other_keys_are_noticed_before_a_lease_is_given(process: Process, link: Link) -> None:
    first = process.give(link, 10.0)
    process.stamp = 2
    second = process.give(link)
    assert first.epoch != second.epoch == process.epoch
    assert link.take() == [second.epoch]


@pytest.mark.parametrize("beating", [False, True])
def test_keys_that_go_while_a_lease_is_looked_for_end_it(process: Process, link: Link, beating: bool) -> None:
    """Another thread takes them away: whether the lease was found with them, nobody knows."""
    if beating:
        process.give(Link(), 10.0)

    def gone() -> None:
        process.stamp += 1

    process.meanwhile = gone
    given = process.give(link, 10.0)
    process.meanwhile = lambda: None
    process.run(BEAT_SECONDS)
    assert given.milliseconds
    assert process.epoch != given.epoch
    assert link.take() == [process.epoch]


@pytest.mark.parametrize(("late", "over"), [(LATE_SECONDS - 0.01, False), (LATE_SECONDS + 0.01, True)])
@pytest.mark.parametrize("first", ["beat", "give"])
def test_a_process_that_stood_still_takes_all_back(
    process: Process, link: Link, late: float, over: bool, first: str
) -> None:
    """What came meanwhile (a block) is not read yet."""
    before = process.give(link, 10.0).epoch
    process.run(1.0)
    link.take()
    process.stand_still(late)
    if first == "give":
        assert (process.give(link).epoch != before) is over
    else:
        process.run(0.0)
        assert link.take() == [process.epoch]
    assert (process.epoch != before) is over
    now = process.epoch
    process.give(link)
    process.run(1.0)
    assert process.epoch == now, "and goes on"


def test_a_condition_that_ends_takes_all_back(process: Process, link: Link) -> None:
    before = process.give(link, 10.0, "b order").epoch
    process.run(1.0)
    assert process.epoch == before
    link.take()
    process.up["b order"] = False
    process.run(BEAT_SECONDS)
    assert process.epoch != before
    assert link.take() == [process.epoch]
    process.looked.clear()
    process.give(link, 10.0)
    process.run(1.0)
    assert process.looked == [], "of what was taken back nothing is left to look at"


def test_every_condition_is_looked_at_with_every_beat(process: Process, link: Link) -> None:
    process.give(link, 10.0, "a", "b")
    process.give(Link(), 10.0, "c")
    process.run(2 * BEAT_SECONDS)
    assert process.looked == ["a", "b", "c"] * 2


def test_conditions_of_leases_that_are_over_are_not_looked_at(process: Process, link: Link) -> None:
    process.give(link, 10.0)
    process.give(link, 0.2, "a")
    process.run(0.1)
    assert process.looked
    process.run(0.1)
    process.looked.clear()
    process.up["a"] = False
    before = process.epoch
    process.run(1.0)
    assert process.looked == []
    assert process.epoch == before
    assert process.leases._conditions == {}


@pytest.mark.parametrize("order", [(5.0, 0.2), (0.2, 5.0)])
def test_a_condition_of_two_leases_is_looked_at_as_long_as_the_longer_lasts(
    process: Process, link: Link, order: tuple[float, float]
) -> None:
    for seconds in order:
        before = process.give(link, seconds, "a").epoch
    process.run(1.0)
    process.up["a"] = False
    process.run(BEAT_SECONDS)
    assert process.epoch != before


def test_what_is_remembered_does_not_grow(process: Process) -> None:
    for number in range(400):
        link = Link()
        process.give(link, 0.2, f"c{number}")
        process.run(0.05)
        link.ended = number % 2 == 0
        assert len(process.leases._holders) <= 6
        assert len(process.leases._conditions) <= 6
    process.run(1.0)
    assert (process.leases._holders, process.waiting) == ({}, [])


def test_a_beat_is_written_as_the_protocol_says() -> None:
    assert beat_of(7) == bytes.fromhex("0000000f 82 a162 ce00000007 a171 ce00000000")
    assert beat_of(LAST) == bytes.fromhex("0000000f 82 a162 ceffffffff a171 ce00000000")
