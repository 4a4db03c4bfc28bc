"""Beats between the answers on a connection: they are told with its link, and reach nobody."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from kong_plugins.server.leases import beat_of

from .muxing import FIRST, Mux, answer


@pytest.fixture
def mux(make_world: Any) -> Mux:
    return Mux(make_world("express"))


EPOCH = 0x01020304
BEAT = beat_of(EPOCH)


def heard(link: Any) -> tuple[Any, Any]:
    return link[b"epoch"], link[b"heard"]


def test_an_answer_comes_with_its_link(mux: Mux) -> None:
    mux.ask(100)
    mux.run()
    count = "local n, of = 0, {} for _, a in ipairs(...) do n, of[a] = n + (of[a] and 0 or 1), 1 end return n"
    assert mux.world.run(count, mux.world.table(mux.links)) == 4
    for link in mux.links:
        assert (link[b"path"], link[b"closed"], heard(link)) == (b"/s", None, (None, None))
    mux.ask()
    mux.run()
    assert mux.world.run(count, mux.world.table(mux.links)) == 4


def test_a_link_that_ends_says_so(mux: Mux) -> None:
    """Leases end with it. (So does one that does not answer.)"""
    mux.ask()
    mux.run()
    mux.serve = lambda _, messages: (None, True)
    mux.ask()
    mux.run()
    mux.serve = lambda _, messages: answer(messages[0][3], n="rid")
    mux.ask()
    mux.run()
    assert [link[b"closed"] for link in mux.links] == [True, None]
    mux.serve = lambda connection, messages: None
    mux.ask()
    mux.run(0.36)
    assert mux.links[1][b"closed"]


@pytest.mark.parametrize("piece", [1, 2, 5, 19, 20, 1000])
@pytest.mark.parametrize("beats", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 2, 2)])
def test_beats_come_before_between_and_after_answers(
    mux: Mux, beats: tuple[int, int, int], piece: int
) -> None:
    mux.threads[b"piece"] = piece
    before, between, after = (BEAT * count for count in beats)
    mux.serve = lambda _, messages: (
        before + between.join(answer(m[3], n="rid", a=str(m[3])) for m in messages) + after
    )
    mux.ask(3)
    mux.run()
    assert [found["a"] for found, _, _ in mux.results] == [str(n) for n in range(FIRST, FIRST + 3)]
    assert [heard(link) for link in mux.links] == [(EPOCH, 1000)] * 3
    assert mux.threads[b"connects"] == 1


def test_the_last_beat_counts_and_when_it_came(mux: Mux) -> None:
    mux.serve = lambda _, messages: BEAT + answer(messages[0][3], n="rid") + beat_of(5)
    mux.ask()
    mux.run()
    (link,) = mux.links
    assert heard(link) == (5, 1000)
    mux.run(0.025)
    assert heard(link) == (5, 1000)
    for data, expected in ((BEAT, EPOCH), (beat_of(6) + beat_of(0), 0), (beat_of((1 << 32) - 1), 2**32 - 1)):
        mux.threads[b"last"][b"push"](data)
        mux.run(0.025)
        found, at = heard(link)
        assert (found, mux.fake[b"now"] - at) == (expected, pytest.approx(0.025))


def test_each_link_hears_its_own(mux: Mux) -> None:
    mux.serve = lambda connection, messages: (
        beat_of(connection) + b"".join(answer(m[3], n="rid", a=str(connection)) for m in messages)
    )
    mux.ask(100)
    mux.run()
    assert [heard(link)[0] for link in mux.links] == [int(found["a"]) for found, _, _ in mux.results]
    assert {heard(link)[0] for link in mux.links} == {1, 2, 3, 4}


UNASKED = (
    msgpack.packb({"v": 1, "n": "rid", "s": ["X-Passport", "another's"], "q": 1 << 31})[:-4] + b"\0\0\0\0"
)
NO_BEATS = [
    b"\0\0\0\x13\x82\xa1b\xcf\0\0\0\0" + BEAT[8:],
    b"\0\0\0\x12\x83\xa1a\1" + BEAT[5:],
    b"\0\0\0\x08\x81" + BEAT[-7:],
    b"\0\0\0\x0b\x82\xa1b\7" + BEAT[-7:],
    b"\0\0\0\x0f\x92" + BEAT[5:],
    b"\0\0\0\x0f\x82\xa1c" + BEAT[7:],
    b"\0\0\0\x0f\x82\xa1b\xd2" + BEAT[8:],
    b"\0\0\0\x08\xc1" + BEAT[-7:],
    len(UNASKED).to_bytes(4, "big") + UNASKED,
]
"""They end as a beat does, with question 0."""


@pytest.mark.parametrize("data", NO_BEATS)
def test_what_is_no_beat_vouches_for_nothing_and_reaches_nobody(mux: Mux, data: bytes) -> None:
    mux.serve = lambda _, messages: BEAT + answer(messages[0][3], n="rid")
    mux.ask()
    mux.run()
    (link,) = mux.links
    assert heard(link)[0] == EPOCH
    mux.serve = lambda connection, messages: None
    mux.ask()
    mux.threads[b"last"][b"push"](data)
    mux.run()
    assert heard(link)[0] is None
    assert len(mux.results) == 1
    mux.threads[b"last"][b"push"](answer(FIRST + 1, n="rid", a="mine") + BEAT)
    mux.run()
    assert mux.results[1][0]["a"] == "mine"
    assert heard(link)[0] == EPOCH
    assert (mux.threads[b"connects"], link[b"closed"]) == (1, None)


def test_a_beat_is_no_answer(mux: Mux) -> None:
    mux.serve = lambda connection, messages: BEAT
    mux.ask(2)
    mux.run(0.1)
    mux.threads[b"last"][b"push"](BEAT)
    mux.run(0.24)
    assert mux.results == []
    mux.run(0.02)
    assert mux.results == [(None, "timeout", False)] * 2
