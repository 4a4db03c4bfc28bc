"""Decisions that ask: both lanes answer when the asks are answered, and hold up nobody else meanwhile."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import pytest

from kong_plugins.engine.ask import Ask
from kong_plugins.server.decided import Later
from kong_plugins.server.decider import Decider
from kong_plugins.server.express_lane import ExpressLane, ExpressProtocol
from kong_plugins.server.frames import Connections
from kong_plugins.server.pdk_lane import PdkLane, PdkProtocol

Record = Callable[..., list[Any]]
LIMIT = {"name": "s", "key": ["ip"], "rate": 2, "per": 3600, "policy": "strict"}
TEXT = json.dumps({"limits": [LIMIT]})
CHAIN = hashlib.md5(f"abuse-guard\0{TEXT}\0".encode()).hexdigest()


class Asked:
    """Stands for the asker: answers when the test says so."""

    is_up, unanswered = True, 0

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Ask], Callable[[Any], None]]] = []

    def ask(self, asks: Sequence[Ask], done: Callable[[Any], None]) -> None:
        self.waiting.append((asks, done))

    def answer(self, admitted: bool | None, at: int = 0) -> None:
        asks, done = self.waiting.pop(at)
        done({ask.key: None if admitted is None else (admitted, [0]) for ask in asks})


class Transport:
    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.fixture
def asked(decider: Decider) -> Asked:
    made = Asked()
    decider.asker = made  # type: ignore[assignment]
    return made


def connected(protocol: Any) -> Transport:
    transport = Transport()
    protocol.connection_made(transport)
    return transport


def numbered(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        length = int.from_bytes(data[:4], "big")
        found.append(msgpack.unpackb(data[4 : 4 + length]))
        data = data[4 + length :]
    return found


@pytest.fixture
def express(decider: Decider) -> ExpressProtocol:
    decider.register_chain(CHAIN, ["abuse-guard", TEXT])
    return ExpressProtocol(ExpressLane(decider, lambda *_: True), "express", Connections(lambda: 0.0))


@pytest.mark.parametrize(("admitted", "status"), [(True, None), (False, 429), (None, None)])
def test_one_question_waits_for_its_answer(
    express: ExpressProtocol, asked: Asked, facts: Record, admitted: bool | None, status: int | None
) -> None:
    transport = connected(express)
    express.data_received(msgpack.packb(["d", CHAIN, facts()]))
    assert (transport.written, express.waiting) == (b"", True)
    asked.answer(admitted)
    wire = msgpack.unpackb(transport.written[8:])
    assert (wire["ch"], wire["n"], wire.get("st")) == (CHAIN, "r1", status)
    assert list(wire)[-1] == "ch" or list(wire)[-1] == "n"
    assert not express.waiting


def test_the_questions_of_others_on_the_connection_do_not_wait(
    express: ExpressProtocol, asked: Asked, facts: Record
) -> None:
    transport = connected(express)
    for number in (1, 2):
        express.data_received(msgpack.packb(["m", CHAIN, facts(f"r{number}"), number]))
    express.data_received(msgpack.packb(["m", "unknown", facts("r3"), 3]))
    assert numbered(transport.written) == [{"e": "config", "q": 3}]
    assert express.hand_over() is None, "answers are owed here"
    transport.written = b""
    asked.answer(False, at=1)
    asked.answer(True)
    second, first = numbered(transport.written)
    assert (second["q"], second["n"], second["st"]) == (2, "r2", 429)
    assert (first["q"], first["n"], first.get("st")) == (1, "r1", None)
    assert not transport.closed


def test_the_pdk_lane_waits_too(decider: Decider, asked: Asked, facts: Record) -> None:
    known = decider.register("abuse-guard", TEXT)
    protocol = PdkProtocol(PdkLane(decider), "abuse-guard", Connections(lambda: 0.0))
    transport = connected(protocol)
    step = {"EventId": known.id, "Data": {"v": 1, "f": facts(), "g": ["abuse-guard"], "ids": []}}
    protocol.data_received(msgpack.packb([0, 7, "plugin.Step", [step]]))
    assert transport.written == b""
    asked.answer(False)
    kind, number, error, result = msgpack.unpackb(transport.written)
    assert (kind, number, error, result["EventId"]) == (1, 7, None, known.id)
    assert result["Data"]["Method"] == "kong.response.exit"
    assert result["Data"]["Args"][2]["X-Kgate-Memo"] == "limit=s"


@pytest.mark.parametrize("has_asker", [True, False])
def test_where_nobody_answers_it_is_decided_at_once(
    decider: Decider, asked: Asked, facts: Record, has_asker: bool
) -> None:
    asked.is_up = False
    if not has_asker:
        decider.asker = None
    decider.register_chain(CHAIN, ["abuse-guard", TEXT])
    assert "st" not in decider.decide_chain(CHAIN, facts())
    assert asked.waiting == []


def test_an_error_in_the_second_run_is_the_fail_answer(
    express: ExpressProtocol, asked: Asked, facts: Record
) -> None:
    transport = connected(express)
    express.data_received(msgpack.packb(["d", CHAIN, facts()]))
    asks, done = asked.waiting.pop()
    done({asks[0].key: "nonsense"})
    assert msgpack.unpackb(transport.written[8:])["e"] == "filter_error"


def test_without_limits_nothing_waits(decider: Decider, asked: Asked, facts: Record) -> None:
    chain = hashlib.md5(b"abuse-guard\0{}\0").hexdigest()
    decider.register_chain(chain, ["abuse-guard", "{}"])
    try:
        assert decider.decide_chain(chain, facts())["n"] == "r1"
    except Later:
        pytest.fail("asked for nothing")
