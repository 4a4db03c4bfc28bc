"""The server's answers to numbered questions: what is read of them once must be what each of them says."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from kong_plugins.server.express_lane import numbered_frame

from .conftest import World

NUMBER = 1 << 16
ID, OTHER = "0" * 31 + "1", "0" * 31 + "2"
PASS = {"v": 1, "tn": "order", "s": ["X-Passport", "eyJ", "X-Canary", "control"], "m": "b=1", "ch": "ab" * 16}


class Answers:
    def __init__(self, world: World) -> None:
        self.world = world
        self.module = world.module("kgate.answers")

    def read(self, wire: dict[str, Any], number: int = NUMBER, waiting: str = ID) -> tuple[Any, Any]:
        """As it comes, between two others; the answer as a Lua table, and whether it is sound."""
        frame = numbered_frame(dict(wire), number)
        data, first = b"before" + frame[4:] + b"after", 7
        last = first + int.from_bytes(frame[:4], "big") - 1
        assert self.module.number(data, first, last) == number
        found: tuple[Any, Any] = self.module.read(data, first, last, waiting.encode())
        return found

    def py(self, wire: dict[str, Any], **more: Any) -> tuple[Any, bool]:
        found, sound = self.read(wire, **more)
        return self.world.py(found), sound


@pytest.fixture
def answers(world: World) -> Answers:
    return Answers(world)


def test_an_answer_is_what_the_server_said(answers: Answers) -> None:
    assert answers.py({**PASS, "n": ID}) == ({**PASS, "n": ID, "q": NUMBER}, True)


def test_what_is_alike_is_read_once(answers: Answers) -> None:
    first, _ = answers.read({**PASS, "n": ID})
    second, sound = answers.read({**PASS, "n": OTHER}, number=300_000, waiting=OTHER)
    assert sound
    assert answers.world.run("local a, b = ... return rawequal(a, b)", first, second)


@pytest.mark.parametrize(
    "change",
    [{"tn": "pay"}, {"s": ["X-Passport", "eyK", "X-Canary", "control"]}, {"m": "b=2"}, {"ch": "cd" * 16}],
)
def test_what_differs_in_a_byte_is_another_answer(answers: Answers, change: dict[str, Any]) -> None:
    answers.read({**PASS, "n": ID})
    found, sound = answers.py({**PASS, **change, "n": ID})
    assert sound
    assert found == {**PASS, **change, "n": ID, "q": NUMBER}
    found, sound = answers.py({**PASS, "n": ID, "rs": "x"})
    assert (found.get("rs"), sound) == ("x", True)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("named", [OTHER, ID[:-1], ID + "1", "", "1", "\udcff" * 32])
def test_a_verdict_on_another_request_is_never_sound(answers: Answers, named: str, known: bool) -> None:
    if known:
        answers.read({**PASS, "n": ID})
    found, sound = answers.py({**PASS, "n": named})
    assert not sound
    assert found["n"] == named, "and says whose it is"


def test_an_id_of_the_clients_is_not_taken_for_the_requests(answers: Answers) -> None:
    """It stands where the server put it, and not at the end."""
    end = (msgpack.packb("n") + msgpack.packb(ID)).decode("latin-1")
    assert not answers.py({**PASS, "m": end, "n": OTHER})[1]
    assert not answers.py({**PASS, "rs": end})[1]


@pytest.mark.parametrize(
    "wire",
    [
        {"e": "config"},
        {"v": 1, "n": ID, "e": "ids"},
        {**PASS, "n": ID, "e": "filter_error"},
        {**PASS, "n": ID, "v": 2},
        {**PASS, "n": ID, "s": ["odd"]},
        {**PASS, "n": ID, "u": 5},
        {**PASS, "n": ID, "st": 403, "b": "{}"},
        {**PASS, "n": ID, "st": 99},
        {**PASS, "n": 5},
        PASS,
    ],
)
def test_errors_exits_and_what_is_no_verdict_are_left_to_the_guard(
    answers: Answers, wire: dict[str, Any]
) -> None:
    for _ in range(2):
        assert answers.py(wire) == ({**wire, "q": NUMBER}, False)


def test_short_ids_are_read_as_well(answers: Answers) -> None:
    """Of a Kong before 3.5, say: then each answer is read anew."""
    for _ in range(2):
        assert answers.py({**PASS, "n": "rid"}, waiting="rid") == ({**PASS, "n": "rid", "q": NUMBER}, False)
    assert not answers.py({**PASS, "n": ""}, waiting="")[1]


def test_large_ones_are_not_remembered(answers: Answers) -> None:
    wire = {**PASS, "n": ID, "h": ["Set-Cookie", "x" * 5000]}
    for _ in range(2):
        assert answers.py(wire) == ({**wire, "q": NUMBER}, False)


def test_it_remembers_no_more_than_two_thousand(answers: Answers) -> None:
    first, _ = answers.read({**PASS, "n": ID})
    for number in range(2048):
        answers.read({**PASS, "m": f"b={number + 2}", "n": ID})
    again, sound = answers.read({**PASS, "n": ID})
    assert sound
    assert not answers.world.run("local a, b = ... return rawequal(a, b)", first, again)


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"\xa1q\xce\0\0\0", b"\xa1q\xce\0\0\0\1", b"\x81\xa1q\x07" + b"\0" * 9, b"\0" * 20]
)
def test_an_answer_without_a_number(answers: Answers, data: bytes) -> None:
    assert answers.module.number(b"\xa1q\xce\0\0\0\1" + data, 8, 7 + len(data)) is None
