"""The server's answers to numbered questions: what is read of a verdict once must be what each answer says."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kong_plugins.engine.facts import parse_facts
from kong_plugins.engine.lasting import Varied, join, lasting
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.told import SLOTS, Told

from .answering import ID, NOT_OURS, NUMBER, OTHER, PASS, UNTOLD, Answers, short
from .conftest import World


@pytest.fixture
def answers(world: World) -> Answers:
    return Answers(world)


def test_an_answer_in_full_is_what_the_server_said(answers: Answers) -> None:
    assert answers.py({**PASS, "n": ID}) == ({**PASS, "n": ID, "q": NUMBER}, False)
    assert answers.py({**PASS, "d": 3, "n": ID}) == ({**PASS, "d": 3, "n": ID, "q": NUMBER}, True)


def test_a_verdict_is_read_once(answers: Answers) -> None:
    first, _ = answers.read({**PASS, "d": 3, "n": ID})
    second, sound = answers.frame(short(3, OTHER, 300_000), 300_000, OTHER)
    assert sound
    assert answers.same(first, second)


@pytest.mark.parametrize("slot", [0, 1, SLOTS - 1])
def test_slots_from_the_first_to_the_last(answers: Answers, slot: int) -> None:
    assert answers.read({**PASS, "d": slot, "n": ID})[1]
    assert answers.frame(short(slot, ID, NUMBER))[1]


def test_a_slot_is_used_again(answers: Answers) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    answers.read({**PASS, "tn": "pay", "d": 3, "n": ID})
    found, _ = answers.frame(short(3, ID, NUMBER))
    assert answers.world.py(found)["tn"] == "pay"


def test_a_verdict_is_remembered_though_nobody_waits_for_it_any_more(answers: Answers) -> None:
    answers.read({**PASS, "d": 3, "n": OTHER}, waiting=None)
    found, sound = answers.frame(short(3, ID, NUMBER))
    assert (answers.world.py(found)["tn"], sound) == ("order", True)
    assert answers.frame(short(3, OTHER, NUMBER), waiting=None)[0] is False, "and this one has nobody either"


@pytest.mark.parametrize("slot", [0, 4, SLOTS - 1, SLOTS, 2**32 - 1])
def test_a_slot_that_was_not_told_is_no_answer(answers: Answers, slot: int) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert answers.frame(short(slot, ID, NUMBER)) == (None, UNTOLD.encode())


@pytest.mark.parametrize("slot", [-1, SLOTS, 2**32 - 1, "3", True, [3]])
def test_a_slot_that_is_none_is_not_remembered(answers: Answers, slot: Any) -> None:
    _, sound = answers.read({**PASS, "d": slot, "n": ID})
    assert not sound
    assert list(answers.told) == []


@pytest.mark.parametrize(
    "change",
    [
        {"st": 403},
        {"e": "no_state"},
        {"s": ["X-Passport"]},
        {"s": [1, 2]},
        {"v": 0},
        {"n": ""},
        {"n": 7},
        {"m": 5},
    ],
)
def test_only_a_sound_verdict_that_passes_is_remembered(answers: Answers, change: dict[str, Any]) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert not answers.read({**PASS, "d": 3, "n": ID, **change})[1]
    assert answers.frame(short(3, ID, NUMBER)) == (None, UNTOLD.encode())


@pytest.mark.parametrize("named", [OTHER, ID[:-1], ID + "1", "", "1", "\udcff" * 32])
def test_a_verdict_on_another_request_is_never_sound(answers: Answers, named: str) -> None:
    for slot in ({}, {"d": 3}):
        found, sound = answers.py({**PASS, **slot, "n": named})
        assert not sound
        assert found["n"] == named, "and says whose it is"


@pytest.mark.parametrize("named", [OTHER, ID[:-1], ID + "1", "", "1", "z" * 200])
def test_a_named_verdict_reaches_the_request_that_was_asked_alone(answers: Answers, named: str) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert answers.frame(short(3, named, NUMBER)) == (None, NOT_OURS.encode())


@pytest.mark.parametrize("place", [8, 9, 10, 11])
def test_a_short_answer_of_another_form_is_none(answers: Answers, place: int) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    frame = bytearray(short(3, ID, NUMBER))
    frame[4 + place] ^= 1
    assert answers.frame(bytes(frame))[0] is None


def test_what_is_of_a_request_takes_the_place_of_what_is_alike(answers: Answers) -> None:
    own = {"h": ["RateLimit", "9"], "m": "g=1 b=1"}
    first, sound = answers.py({**PASS, "d": 3, "x": {"h": ["RateLimit", "10"]}, "n": ID})
    assert sound
    assert first == {**PASS, "h": ["RateLimit", "10"], "n": ID}
    second, sound = answers.py({"r": 3, "x": own, "n": OTHER}, waiting=OTHER)
    assert sound
    assert second == {**PASS, **own, "n": OTHER}
    third, sound = answers.frame(short(3, ID, NUMBER))
    found = answers.world.py(third)
    assert (sound, "h" in found, found["m"]) == (True, False, "b=1"), "what is remembered did not change"


@pytest.mark.parametrize(
    "own", [{"h": ["RateLimit"]}, {"m": 5}, {"s": [1, 2]}, {"rt": -1}, {"rs": []}, {"v": 0}]
)
def test_what_varies_is_checked_too(answers: Answers, own: dict[str, Any]) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert not answers.read({"r": 3, "x": own, "n": ID})[1]
    assert not answers.read({**PASS, "d": 4, "x": own, "n": ID})[1]
    assert answers.frame(short(4, ID, NUMBER))[1], "what is alike is sound"


def test_what_varies_makes_no_answer_to_the_client(answers: Answers) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    found, _ = answers.py({"r": 3, "x": {"st": 200, "e": "x", "b": "y"}, "n": ID})
    assert found == {**PASS, "n": ID}


@pytest.mark.parametrize(
    "answer", [{"r": 4, "x": {}}, {"r": "3", "x": {}}, {"r": 3, "x": 5}, {"r": [3], "x": {}}]
)
def test_what_varies_of_nothing_is_no_answer(answers: Answers, answer: dict[str, Any]) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert answers.read({**answer, "n": ID})[0] is None


@pytest.mark.parametrize("named", [OTHER, "", 5])
def test_a_varied_verdict_on_another_request_is_never_sound(answers: Answers, named: Any) -> None:
    answers.read({**PASS, "d": 3, "n": ID})
    assert not answers.read({"r": 3, "x": {"m": "g"}, "n": named})[1]
    assert not answers.read({"r": 3, "n": named})[1]


def test_an_id_of_the_clients_is_not_taken_for_the_requests(answers: Answers) -> None:
    """It stands where the server put it, and not at the end."""
    end = (msgpack.packb("n") + msgpack.packb(ID)).decode("latin-1")
    assert not answers.py({**PASS, "m": end, "d": 3, "n": OTHER})[1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["a", "b"]), st.booleans()), max_size=30))
def test_what_the_server_tells_is_what_the_adapter_reads(
    answers: Answers, asked: list[tuple[int, str, bool]]
) -> None:
    answers.told = answers.world.table({})
    told = Told()
    verdicts = [
        lasting(Verdict(service_headers=(("X-Passport", f"p{n}"),), upstream="u" * n, retries=n or None))
        for n in range(5)
    ]
    for place, (which, tenant, is_waiting) in enumerate(asked):
        name, number = f"{place:032x}", NUMBER + place
        facts = parse_facts([1, name, "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", tenant, "", ""])
        own = join([Verdict(memo=f"g={place}"), verdicts[which]]) if place % 2 else None
        if isinstance(own, Varied):
            frame = told.varied_frame(own, facts, "c", 1, number)
        else:
            frame = told.frame(verdicts[which], facts, "c", 1, number)
        found, sound = answers.frame(frame, number, name if is_waiting else None)
        if is_waiting:
            assert sound
            wire = answers.world.py(found)
            assert (wire["s"], wire["tn"], wire.get("u", "")) == (
                ["X-Passport", f"p{which}"],
                tenant,
                "u" * which,
            )
            assert wire.get("rt", 0) == which
            assert wire.get("m", "") == (f"g={place}" if place % 2 else "")
