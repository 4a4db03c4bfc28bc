"""Many requests on one connection: who gets which answer, and what happens when none comes."""

from __future__ import annotations

from typing import Any

import pytest
from lupa.luajit21 import LuaError

from .muxing import FACTS, FIRST, NUMBER, Mux, answer


@pytest.fixture
def mux(make_world: Any) -> Mux:
    return Mux(make_world("express"))


def test_one_question_and_its_answer(mux: Mux) -> None:
    mux.ask()
    mux.run()
    assert mux.results == [({"v": 1, "n": "rid", "q": FIRST}, None, False)]
    assert mux.sent == [[["m", "hash", FACTS, FIRST]]]
    assert mux.threads[b"last"][b"pool"] == b"kgate-mux"  # a pooled connection might carry another's answer


def test_the_configs_may_go_with_a_question(mux: Mux) -> None:
    mux.ask()
    mux.ask(with_configs=True)
    mux.run()
    assert mux.sent == [[["m", "hash", FACTS, FIRST], ["m", "hash", FACTS, FIRST + 1, ["passport", "{}"]]]]
    assert len(mux.results) == 2


def test_questions_of_one_turn_go_out_together(mux: Mux) -> None:
    mux.ask()
    mux.run()
    mux.ask(5)
    mux.run()
    assert [len(messages) for messages in mux.sent] == [1, 5]
    assert len(mux.results) == 6
    assert mux.threads[b"connects"] == 1


def test_a_crowd_opens_more_connections_up_to_a_limit(mux: Mux) -> None:
    mux.ask(100)
    mux.run()
    assert len(mux.results) == 100
    assert mux.threads[b"connects"] == 4
    counts = [len(messages) for messages in mux.by_connection.values()]
    assert max(counts) <= 1.3 * 25


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_answers_may_come_in_any_order_and_in_pieces(mux: Mux, piece: int) -> None:
    mux.threads[b"piece"] = piece
    mux.serve = lambda _, messages: b"".join(answer(m[3], a=str(m[3])) for m in reversed(messages))
    mux.ask(7)
    mux.run()
    assert sorted(found["a"] for found, _, _ in mux.results) == [str(n) for n in range(FIRST, FIRST + 7)]


def test_an_answer_that_comes_too_late_reaches_nobody(mux: Mux) -> None:
    mux.serve = lambda _, messages: None
    mux.ask(2)
    mux.run(0.34)
    assert mux.results == []
    mux.run(0.02)
    assert mux.results == [(None, "timeout", False)] * 2
    late = mux.threads[b"last"]
    mux.serve = lambda _, messages: b"".join(answer(m[3], a="new") for m in messages)
    mux.ask(2)
    late[b"push"](answer(FIRST, a="old") + answer(FIRST + 1, a="old"))
    mux.run()
    assert [found["a"] for found, _, _ in mux.results[2:]] == ["new", "new"]
    assert mux.threads[b"connects"] == 2  # nobody joins the link that did not answer
    mux.run(3)
    assert mux.threads[b"open"] == 1  # and it is closed


def test_those_who_wait_on_a_slow_link_get_their_answers(mux: Mux) -> None:
    mux.serve = lambda _, messages: None
    mux.ask()
    mux.run(0.2)
    mux.ask()
    mux.run(0.16)
    assert mux.results == [(None, "timeout", False)]
    mux.threads[b"last"][b"push"](answer(FIRST + 1, a="yet"))
    mux.run()
    assert mux.results[1][0]["a"] == "yet"


@pytest.mark.parametrize(
    ("serve", "err"),
    [
        (lambda _, messages: (None, True), "closed"),
        (lambda _, messages: (answer(FIRST)[:9], True), "closed"),
        (lambda _, messages: b"\xff\xff\xff\xff....", "bad answer: length"),
        (lambda _, messages: b"\0\0\0\x08\xc1" + NUMBER, "bad answer: unsupported type 193"),
        (lambda _, messages: b"\0\0\0\x08\x91" + NUMBER, "bad answer: bytes after the value"),
        (lambda _, messages: b"\0\0\0\x08\x8f" + NUMBER, "bad answer: truncated"),
        (lambda _, messages: b"\0\0\0\x09\x92\x01" + NUMBER, "bad answer: bytes after the value"),
        (lambda _, messages: b"\0\0\0\x08\x93" + NUMBER, "bad answer: truncated"),
        (lambda _, messages: b"\0\0\0\x08\xa7" + NUMBER, "bad answer: not a map"),
        (lambda _, messages: b"\0\0\0\x07" + NUMBER, "bad answer: no number"),
        (lambda _, messages: b"\0\0\0\1\x01", "bad answer: no number"),
        (lambda _, messages: b"\0\0\0\0", "bad answer: no number"),
    ],
)
def test_a_connection_that_ends_fails_all_who_wait_there_and_they_may_ask_again(
    mux: Mux, serve: Any, err: str
) -> None:
    mux.serve = serve
    mux.ask(3)
    mux.run()
    assert mux.results == [(None, err, True)] * 3
    mux.serve = lambda _, messages: b"".join(answer(m[3]) for m in messages)
    mux.ask()
    mux.run()
    assert mux.results[3][0] is not None
    mux.run(3)
    assert mux.threads[b"open"] == 1


def test_no_connection(mux: Mux) -> None:
    mux.threads[b"refuse"] = b"connection refused"
    mux.ask(2)
    mux.run()
    assert mux.results == [(None, "connection refused", True)] * 2
    assert mux.threads[b"alive"]() == 0


def test_no_timer_and_an_ending_worker_ask_alone(mux: Mux) -> None:
    mux.fake[b"no_timers"] = True
    mux.ask()
    mux.fake[b"no_timers"] = False
    mux.fake[b"exiting"] = True
    mux.ask()
    mux.run()
    assert mux.results == [(None, "too many pending timers", True), (None, "exiting", True)]
    assert mux.sent == []


def test_a_worker_that_ends_is_not_held_up(mux: Mux) -> None:
    mux.ask(30)
    mux.run()
    assert mux.threads[b"open"] == 4
    mux.fake[b"exiting"] = True
    mux.run(1.1)
    assert mux.threads[b"open"] == 0
    assert mux.threads[b"alive"]() == 0


@pytest.mark.parametrize("at", [2, 7, 13, 14, 15])
def test_facts_of_another_form_leave_nothing_on_the_connection(mux: Mux, at: int) -> None:
    facts = mux.world.table([*FACTS, "accept", "*/*"])
    mux.ask()
    mux.run()
    facts[at] = None if at < 14 else 5
    with pytest.raises(LuaError):
        mux.world.run(
            "local mux, chain, facts = ... mux.ask('/s', chain, facts, 15)", mux.module, mux.chain, facts
        )
    mux.ask(2)
    mux.run()
    assert [found["n"] for found, _, _ in mux.results] == ["rid"] * 3
    assert len(mux.sent) == 2


@pytest.mark.parametrize("last", [FIRST + 254, 0x1FFFE, 0xFFFFFE, 0x1FFFFFE, 0x2FFFFFE, (1 << 31) - 3])
def test_numbers_of_all_sizes_and_from_the_first_again(mux: Mux, last: int) -> None:
    mux.ask()
    mux.run()
    mux.links[0][b"number"] = last
    mux.ask(4)
    mux.run()
    numbers = [
        number if number < 1 << 31 else number - (1 << 31) + FIRST for number in range(last + 1, last + 5)
    ]
    assert [message[3] for message in mux.sent[1]] == numbers
    assert sorted(found["q"] for found, _, _ in mux.results[1:]) == sorted(numbers)


SHORT = b"\0\0\0\x33\x83\xa1r\xce\0\0\0"


def short(slot: int, number: int, request: str) -> bytes:
    return (
        SHORT
        + bytes((slot,))
        + b"\xa1n\xd9\x20"
        + request.encode()
        + b"\xa1q\xce"
        + number.to_bytes(4, "big")
    )


def test_a_verdict_that_was_told_is_named_by_its_slot_on_that_connection_alone(mux: Mux) -> None:
    name = "0" * 32
    mux.facts[2] = name.encode()
    told: set[int] = set()

    def serve(connection: int, messages: list[Any]) -> bytes:
        frames = []
        for message in messages:
            if connection in told:
                frames.append(short(5, message[3], name))
            else:
                told.add(connection)
                frames.append(answer(message[3], n=name, a=f"of {connection}", d=5))
        return b"".join(frames)

    mux.serve = serve
    mux.ask(100)
    mux.run()
    assert mux.sound == [True] * 100
    assert {found["a"] for found, _, _ in mux.results} == {f"of {connection}" for connection in told}
    assert len(told) == 4


def test_a_slot_that_was_not_told_ends_the_connection_and_all_there_may_ask_again(mux: Mux) -> None:
    name = "0" * 32
    mux.facts[2] = name.encode()
    mux.serve = lambda _, messages: short(5, messages[0][3], name)
    mux.ask(3)
    mux.run()
    assert mux.results == [(None, "bad answer: a verdict that was not told", True)] * 3
    mux.serve = lambda _, messages: b"".join(answer(m[3], n=name, d=5) for m in messages)
    mux.ask()
    mux.run()
    assert mux.sound == [True]


def test_answers_to_unknown_questions_are_dropped(mux: Mux) -> None:
    mux.serve = lambda _, messages: answer(FIRST + 98) + answer(FIRST + 50) + answer(messages[0][3], a="mine")
    mux.ask()
    mux.run()
    assert mux.results[0][0]["a"] == "mine"


def test_a_connection_that_is_late_to_open_is_not_waited_for(mux: Mux) -> None:
    """Kong's timers were seen to be late; the question is asked on a connection of its own while there is time."""
    late = mux.world.run("local at = ngx.timer.at ngx.timer.at = function() return true end return at")
    mux.ask(2)
    mux.run(0.05)
    assert mux.results == [], "it may still open"
    mux.run(0.06)
    assert mux.results == [(None, "timeout", True)] * 2
    mux.world.run("ngx.timer.at = ...", late)
    mux.ask()
    mux.run()
    assert mux.results[2:] == [({"v": 1, "n": "rid", "q": FIRST}, None, False)]


def test_one_that_opens_late_and_is_silent_costs_no_more_time_than_any(mux: Mux) -> None:
    mux.serve = lambda connection, messages: None
    held = mux.world.run(
        "held = {} local at = ngx.timer.at "
        "ngx.timer.at = function(...) held[#held + 1] = { ... } return true end return at"
    )
    mux.ask()
    mux.run(0.09)
    mux.world.run("ngx.timer.at = ... for _, each in ipairs(held) do ngx.timer.at(unpack(each)) end", held)
    mux.run(0.25)
    assert mux.results == []
    mux.run(0.02)
    assert mux.results == [(None, "timeout", False)]
