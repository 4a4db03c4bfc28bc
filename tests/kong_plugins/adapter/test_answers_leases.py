"""Leases among the server's answers, and beats."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from kong_plugins.server.leases import beat_of
from kong_plugins.server.told import SLOTS

from .answering import ID, NUMBER, OTHER, PASS, UNTOLD, Answers, short
from .conftest import World


@pytest.fixture
def answers(world: World) -> Answers:
    return Answers(world)


NOT_A_LEASE = [
    [],
    [5000],
    "5000",
    5000,
    True,
    {},
    {"a": 1},
    ["5000", 7],
    [5000, "7"],
    [5000, None],
    [None, 7],
]


def lease_of(answers: Answers, verdict: Any) -> Any:
    return answers.world.py(verdict[b"l"])


def test_a_lease_is_told_with_the_verdict(answers: Answers) -> None:
    found, sound = answers.read({**PASS, "d": 3, "n": ID, "l": [5500, 7]})
    assert sound
    assert lease_of(answers, found) == {"till": 1005.5, "epoch": 7}
    again, _ = answers.frame(short(3, OTHER, NUMBER), waiting=OTHER)
    assert answers.same(found, again)


@pytest.mark.parametrize("waiting", [OTHER, None])
def test_a_new_lease_of_a_verdict_that_was_told(answers: Answers, waiting: str | None) -> None:
    """Also when nobody waits for it any more."""
    first, _ = answers.read({**PASS, "d": 3, "n": ID})
    assert lease_of(answers, first) is None
    for now, said, till in ((1000, [5500, 7], 1005.5), (1010, [1, (1 << 32) - 1], 1010.001)):
        answers.world.fake[b"now"] = now
        second, sound = answers.read({"r": 3, "l": said, "n": OTHER}, waiting=waiting)
        assert answers.same(first, second)
        assert sound is (waiting is not None)
        assert lease_of(answers, first) == {"till": till, "epoch": said[1]}


@pytest.mark.parametrize("named", [ID, "", 5])
def test_a_lease_with_another_requests_id_is_no_sound_answer(answers: Answers, named: Any) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert not answers.read({"r": 3, "l": [5500, 7], "n": named}, waiting=OTHER)[1]


def test_a_lease_of_a_verdict_that_was_not_told(answers: Answers) -> None:
    assert answers.read({"r": 3, "l": [5500, 7], "n": ID}) == (None, UNTOLD.encode())


def test_what_varies_has_no_lease(answers: Answers) -> None:
    own = {"h": ["RateLimit", "10"]}
    for wire in ({**PASS, "d": 3}, {"r": 3}):
        found, sound = answers.py({**wire, "x": {**own, "l": [5500, 7]}, "n": ID, "l": [5500, 7]})
        assert (sound, found) == (True, {**PASS, **own, "n": ID})
    remembered, _ = answers.frame(short(3, OTHER, NUMBER), waiting=OTHER)
    assert lease_of(answers, remembered) == {"till": 1005.5, "epoch": 7}


@pytest.mark.parametrize("more", [{}, {"x": {"m": "own"}}])
def test_an_answer_that_says_nothing_of_the_lease_leaves_it(answers: Answers, more: dict[str, Any]) -> None:
    first, _ = answers.read({**PASS, "d": 3, "n": ID, "l": [5500, 7]})
    assert answers.read({"r": 3, "n": OTHER, **more}, waiting=OTHER)[1]
    assert lease_of(answers, first) == {"till": 1005.5, "epoch": 7}


@pytest.mark.parametrize("said", NOT_A_LEASE)
def test_what_is_no_lease_ends_the_one_before(answers: Answers, said: Any) -> None:
    found, sound = answers.read({**PASS, "d": 3, "n": ID, "l": said})
    assert (sound, lease_of(answers, found)) == (True, None)
    first, _ = answers.read({**PASS, "d": 3, "n": ID, "l": [5500, 7]})
    second, sound = answers.read({"r": 3, "l": said, "n": ID})
    assert (sound, answers.same(first, second), lease_of(answers, first)) == (True, True, None)


@pytest.mark.parametrize(
    "change",
    [{"d": 3, "st": 403}, {"d": 3, "e": "no_state"}, {"d": 3, "s": ["odd"]}, {"d": 3, "v": 2}, {"d": -1},
     {"d": "3"}, {"d": SLOTS}, {}],
)  # fmt: skip
def test_a_verdict_that_is_not_remembered_has_no_lease(answers: Answers, change: dict[str, Any]) -> None:
    found, sound = answers.read({**PASS, "n": ID, "l": [5500, 7], **change})
    assert (sound, found[b"l"]) == (False, None)


@pytest.mark.parametrize("epoch", [0, 7, 255, 256, 1 << 16, 1 << 24, (1 << 32) - 1])
def test_the_epoch_of_a_beat(answers: Answers, epoch: int) -> None:
    data = b"before" + beat_of(epoch)[4:] + b"after"
    assert answers.module.number(data, 7, 21) == 0
    assert answers.module.epoch(data, 7, 21) == epoch


BEAT = beat_of(7)[4:]
NO_BEATS = [
    *(BEAT[:place] + bytes((BEAT[place] ^ 1,)) + BEAT[place + 1 :] for place in range(4)),
    BEAT + b"\0",
    BEAT[:-1],
    BEAT[:4],
    b"",
    msgpack.packb({"b": 7, "q": 0}),
    msgpack.packb([7, 0]),
    b"\x83" + BEAT[1:8] + msgpack.packb("a") + b"\1" + BEAT[8:],
    b"\x81" + BEAT[8:],
]


@pytest.mark.parametrize("body", NO_BEATS)
def test_what_is_no_beat_has_no_epoch(answers: Answers, body: bytes) -> None:
    assert answers.module.epoch(b"before" + body + b"after", 7, 6 + len(body)) is None
