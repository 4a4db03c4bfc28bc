"""The stream: partial, huge, malformed and odd bytes never kill the process or skip a message."""

import asyncio
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.server import frames
from kong_plugins.server.frames import FrameProtocol, pack


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


def connect() -> tuple[Echo, Transport]:
    echo, transport = Echo(set()), Transport()
    echo.connection_made(transport)
    return echo, transport


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
    monkeypatch.setattr(frames, "MAX_FRAME", 1000)
    echo, transport = connect()
    echo.data_received(b"\xdb\x00\x01\x00\x00" + b"a" * 2000)
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
    known: set[FrameProtocol] = set()
    echo = Echo(known)
    echo.connection_made(Transport())
    assert known == {echo}
    echo.connection_lost(None)
    assert known == set()


def test_over_a_real_socket(tmp_path: Path) -> None:
    async def talk() -> bytes:
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(lambda: Echo(set()), str(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(msgpack.packb("hello") + msgpack.packb("close"))
        got = await reader.read()
        writer.close()
        server.close()
        await server.wait_closed()
        return got

    assert uvloop.run(talk()) == msgpack.packb("hello")
