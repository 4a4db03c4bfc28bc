"""The express client: framing, timeouts, keep-alive after a good answer only, one retry when stale."""

from __future__ import annotations

import msgpack
import pytest

from kong_plugins.engine.facts import parse_facts

from .peer import Scripted, Server, framed, real_dial

GOOD = framed({"v": 1})
CONNECT = ("connect", "unix:/s", None)
FRESH = ("connect", "unix:/s", {"pool": "kgate-fresh"})


def call(world, *connections):
    script = Scripted(world, list(connections))
    result = world.module("kgate.express").call(b"/s", b"MSG")
    answer, err = result[:2] if isinstance(result, tuple) else (result, None)
    return world.py(answer) if answer is not None else err.decode(), script.seen


def test_a_good_answer(world):
    answer, seen = call(world, {"answer": GOOD})
    assert answer == {"v": 1}
    assert seen == [[("timeouts", 50, 50, 300), CONNECT, ("send", b"MSG"), ("keepalive", 60000, 128)]]


@pytest.mark.parametrize(
    ("connection", "error"),
    [
        ({"connect": "connection refused"}, "connection refused"),
        ({"send": "timeout"}, "timeout"),
        ({"end": "timeout"}, "timeout"),
        ({"end": "closed"}, "closed"),
        ({"answer": GOOD[:4], "reused": 3}, "closed"),
        ({"answer": GOOD[:-1], "reused": 3}, "closed"),
        ({"answer": GOOD[:-1], "end": "timeout"}, "timeout"),
        ({"reused": 3, "end": "timeout"}, "timeout"),
        ({"reused": 3, "send": "timeout"}, "timeout"),
        ({"answer": b"0x00000a" + b"x" * 10}, "bad answer: length"),
        ({"answer": b"  0000ff" + b"x" * 255}, "bad answer: length"),
        ({"answer": b"00000000"}, "bad answer: length"),
        ({"answer": b"ffffffff"}, "bad answer: length"),
        ({"answer": framed(1)}, "bad answer: not a map"),
        ({"answer": b"00000001\xc1"}, "bad answer: unsupported type 193"),
    ],
)
def test_errors_close_the_connection_and_are_not_retried(world, connection, error):
    result, seen = call(world, connection)
    assert result == error
    assert len(seen) == 1
    assert "connect" in connection or seen[0][-1] == ("close",)


@pytest.mark.parametrize(
    "stale",
    [
        {"reused": 1, "end": "closed"},
        {"reused": 1, "end": "connection reset by peer"},
        {"reused": 1, "send": "broken pipe"},
    ],
)
def test_a_stale_connection_is_retried_once_on_a_new_one(world, stale):
    answer, seen = call(world, stale, {"answer": GOOD})
    assert answer == {"v": 1}
    assert seen[0][-1] == ("close",)
    assert seen[1] == [("timeouts", 50, 50, 300), FRESH, ("send", b"MSG"), ("close",)]


def test_the_retry_is_the_last(world):
    result, seen = call(world, {"reused": 1}, {"reused": 1})
    assert (result, len(seen)) == ("closed", 2)


FACTS = [1, "rid", "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", "t", "", "", "origin", "\udcff"]


def decide(world, path):
    express = world.module("kgate.express")
    facts = world.table(FACTS)
    plan = world.table({"n": 1, "names": ["passport"], "confs": [{"fail": "closed"}]})
    packed = world.module("kgate.facts").packed(facts, len(FACTS))
    return world.py(express.decide(str(path).encode(), world.module("kgate.chain").of(plan), packed)[0])


def test_against_a_real_socket(world, tmp_path):
    """Configs travel once, the server reads the facts, one connection serves all."""
    known, records, sent = set(), [], []

    def handle(message):
        op, chain, record = message[:3]
        assert op == "d"
        records.append(parse_facts(record))
        if len(message) > 3:
            known.add(chain)
            sent.append(message[3])
        return {"v": 1, "n": record[1], "ch": chain} if chain in known else {"e": "config"}

    hang_up = real_dial(world)
    path = tmp_path / "express.sock"
    server = Server(path, handle)
    try:
        for _ in range(3):
            assert decide(world, path)["n"] == "rid"
        assert server.accepted == 1
    finally:
        hang_up()
        server.close()
    assert sent == [["passport", '{"fail":"closed"}']]
    assert len(records) == 4
    assert records[0].headers == {"origin": "\udcff"}


def test_a_shorter_message_after_a_longer_one_holds_nothing_of_it(world, tmp_path):
    lengths = []

    def handle(message):
        lengths.append(len(message[2]))
        return {"v": 1, "n": "rid", "ch": message[1]}

    hang_up = real_dial(world)
    path = tmp_path / "express.sock"
    server = Server(path, handle)
    express, chain = world.module("kgate.express"), world.module("kgate.chain")
    plan = world.table({"n": 1, "names": ["passport"], "confs": [{"fail": "closed"}]})
    try:
        for n in (15, 13, 15):
            packed = world.module("kgate.facts").packed(world.table(FACTS), n)
            express.decide(str(path).encode(), chain.of(plan), packed)
    finally:
        hang_up()
        server.close()
    assert lengths == [15, 13, 15]


def test_a_closed_pooled_connection_is_replaced(world, tmp_path):
    answers = iter([{"v": 1}, None, {"v": 2}])
    real_dial(world)
    path = tmp_path / "express.sock"
    server = Server(path, lambda _: next(answers))
    express = world.module("kgate.express")
    message = msgpack.packb(["p", "x"])
    try:
        assert world.py(express.call(str(path).encode(), message)[0]) == {"v": 1}
        assert world.py(express.call(str(path).encode(), message)) == {"v": 2}
        assert server.accepted == 2
    finally:
        server.close()


def test_nobody_listens(world, tmp_path):
    real_dial(world)
    answer, err = world.module("kgate.express").call(str(tmp_path / "none").encode(), b"\xc0")
    assert answer is None
    assert b"No such file" in err
