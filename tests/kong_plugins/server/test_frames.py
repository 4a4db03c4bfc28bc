"""The stream: partial, huge, malformed and odd bytes never kill the process or skip a message."""

import asyncio
import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.server import frames
from kong_plugins.server.frames import LATER, Connections, FrameProtocol, pack


class Echo(FrameProtocol):
    """Answers each message with itself; closes on the text "close"."""

    def answer(self, message: Any) -> bytes | None:
        return None if message == "close" else bytes(pack(message))


class Transport(asyncio.Transport):
    """Keeps what is written; ours, so that a test can look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


def home() -> Connections:
    return Connections(lambda: 0.0)


def connect() -> tuple[Echo, Transport]:
    echo, transport = Echo("express", home()), Transport()
    echo.connection_made(transport)
    return echo, transport


def test_a_connection_holds_little_memory_however_much_came_over_it() -> None:
    """A worker has hundreds of them: each worker of Kong keeps as many a plugin as it has requests at a time."""
    message = msgpack.packb("x" * 700)
    tracemalloc.start()
    try:
        connections = [connect()[0] for _ in range(10)]
        for _ in range(3000):
            connections[0].data_received(message)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held - 3000 * 702 < 10 * 150_000  # what it answered is kept by the test


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_messages_may_arrive_in_any_pieces(step: int) -> None:
    echo, transport = connect()
    sent = msgpack.packb(["a" * 300, 1]) + msgpack.packb({"b": [2]})
    for start in range(0, len(sent), step):
        echo.data_received(sent[start : start + step])
    assert transport.sent == sent


def test_bytes_that_are_not_utf8_arrive_as_they_are() -> None:
    echo, transport = connect()
    raw = b"\x91\xa3\xff\x00a"
    echo.data_received(raw)
    assert transport.sent == raw


def test_what_is_not_messagepack_closes_the_connection() -> None:
    echo, transport = connect()
    echo.data_received(b"\xc1\xc1")
    assert transport.closed


def test_a_message_over_the_limit_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames.MAX_FRAME == 8 << 20
    monkeypatch.setattr(frames, "MAX_FRAME", 20_000)
    echo, transport = connect()
    echo.data_received(b"\xdb\x00\x01\x00\x00" + b"a" * 30_000)
    assert transport.closed
    assert transport.sent == b""


def test_deep_nesting_closes_the_connection() -> None:
    echo, transport = connect()
    echo.data_received(b"\x91" * 100_000)
    assert transport.closed


def test_nothing_is_answered_after_a_close() -> None:
    echo, transport = connect()
    echo.data_received(msgpack.packb("close") + msgpack.packb("more"))
    echo.data_received(msgpack.packb("again"))
    assert transport.closed
    assert transport.sent == b""


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_answered_or_end_the_connection(pieces: list[bytes]) -> None:
    echo, _transport = connect()
    for piece in pieces:
        echo.data_received(piece)  # must not raise


def test_connections_are_known_while_they_live() -> None:
    lost: list[str] = []
    known = Connections(lambda: 0.0, lost.append)
    echo = Echo("passport", known)
    echo.connection_made(Transport())
    assert known.live == {echo}
    echo.connection_lost(None)
    assert (known.live, lost) == (set(), ["passport"])


def test_after_standing_still_nothing_is_answered_and_all_connections_close() -> None:
    now = [10.0]
    known = Connections(lambda: now[0])
    pairs = [(Echo("express", known), Transport()) for _ in range(3)]
    for echo, transport in pairs:
        echo.connection_made(transport)
    now[0] += 0.1
    pairs[0][0].data_received(msgpack.packb("in time"))
    now[0] += 0.1
    pairs[1][0].data_received(msgpack.packb("too late"))
    assert [bool(transport.sent) for _, transport in pairs] == [True, False, False]
    assert all(transport.closed for _, transport in pairs)
    assert known.stall.count == 1


@pytest.mark.parametrize("sent", range(1, 11))
def test_a_connection_is_given_away_between_two_messages_only(sent: int) -> None:
    message = msgpack.packb(["d", "text", [1]])

    async def talk() -> bool:
        echo, theirs = await connect_pair(home())
        theirs.sendall((message + message)[: len(message) + sent])
        await asyncio.sleep(0.01)
        fd = echo.hand_over()
        if fd is not None:
            os.close(fd)
        theirs.close()
        await asyncio.sleep(0.01)
        return fd is not None

    assert uvloop.run(talk()) is (sent == len(message))


async def connect_pair(known: Connections) -> tuple[Echo, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    _, echo = await asyncio.get_running_loop().connect_accepted_socket(lambda: Echo("express", known), ours)
    return echo, theirs


def test_after_standing_still_only_connections_with_something_waiting_close() -> None:
    """An idle connection cannot have an old request: what comes on it later is new."""
    now = [10.0]
    known = Connections(lambda: now[0])

    async def talk() -> tuple[bytes, bytes, bytes]:
        loop = asyncio.get_running_loop()
        pairs = [await connect_pair(known) for _ in range(3)]
        _, partly = pairs[1]
        partly.sendall(b"\x92\x01")  # read before, but not whole
        await asyncio.sleep(0.02)
        pairs[2][1].sendall(msgpack.packb("old"))  # still in the kernel when the loop goes on
        now[0] += 0.2
        known.stall.tick()
        pairs[0][1].sendall(msgpack.packb("new"))
        got = []
        for _, theirs in pairs:
            try:
                got.append(await asyncio.wait_for(loop.sock_recv(theirs, 100), 20))
            except (ConnectionResetError, TimeoutError) as error:
                got.append(b"" if isinstance(error, ConnectionResetError) else b"nothing")
        known.close()
        for _, theirs in pairs:
            theirs.close()
        await asyncio.sleep(0.02)
        return got[0], got[1], got[2]

    assert uvloop.run(talk()) == (msgpack.packb("new"), b"", b"")
    assert known.stall.count == 1


def test_an_answer_that_was_not_sent_before_standing_still_is_never_sent() -> None:
    now = [10.0]
    known = Connections(lambda: now[0])

    async def talk() -> int:
        echo, theirs = await connect_pair(known)
        assert echo.transport is not None
        echo.transport.write(b"x" * 50_000_000)  # more than the kernel takes
        now[0] += 0.2
        known.stall.tick()
        await asyncio.sleep(0.02)
        got = 0
        try:
            while data := theirs.recv(1 << 20):
                got += len(data)
        except ConnectionResetError:
            pass
        theirs.close()
        return got

    assert uvloop.run(talk()) < 50_000_000


def test_a_decision_that_took_too_long_is_not_answered() -> None:
    now = [10.0]

    class Slow(Echo):
        def answer(self, message: Any) -> bytes | None:
            now[0] += 0.4
            return super().answer(message)

    known = Connections(lambda: now[0])
    slow, transport = Slow("express", known), Transport()
    slow.connection_made(transport)
    slow.data_received(msgpack.packb("x"))
    assert (transport.sent, transport.closed) == (b"", True)


def test_a_tick_of_the_loop_says_that_it_runs() -> None:
    now = [10.0]
    known = Connections(lambda: now[0])
    for _ in range(20):
        now[0] += 0.1
        known.stall.tick()
    assert not known.stall.happened()


def test_an_answer_may_come_later_and_nothing_overtakes_it() -> None:
    class Later(Echo):
        def answer(self, message: Any) -> bytes | None:
            return LATER

    later, transport = Later("pdk", home()), Transport()
    later.connection_made(transport)
    later.data_received(msgpack.packb("one"))
    assert (later.waiting, transport.sent) == (True, b"")
    later.reply(b"now")
    assert (later.waiting, transport.sent) == (False, b"now")
    later.data_received(msgpack.packb("one"))
    later.data_received(msgpack.packb("two, though one is not answered"))
    assert transport.closed


def test_an_answer_that_comes_too_late_closes_the_connection_instead() -> None:
    now = [10.0]

    class Later(Echo):
        def answer(self, message: Any) -> bytes | None:
            return LATER

    later, transport = Later("pdk", Connections(lambda: now[0])), Transport()
    later.connection_made(transport)
    later.data_received(msgpack.packb("one"))
    now[0] += 0.2
    later.reply(b"too late")
    assert (transport.sent, transport.closed) == (b"", True)


def test_over_a_real_socket(tmp_path: Path) -> None:
    async def talk() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: Echo("express", home()), str(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(msgpack.packb("hello") + msgpack.packb("close"))
        got = await reader.read()
        writer.close()
        server.close()
        await server.wait_closed()
        return got

    assert uvloop.run(talk()) == msgpack.packb("hello")
