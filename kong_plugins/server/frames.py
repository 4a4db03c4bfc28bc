"""MessagePack over a stream, as both lanes use it: limits, odd bytes, late answers, and handing over."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import msgpack

from kong_plugins.server.stall import LIMIT_SECONDS, Stall, waiting

log = logging.getLogger("kgate.server")

MAX_FRAME = 8 * 1024 * 1024
"""Bytes of one message; the connection is closed on more."""

NOT_MESSAGEPACK = (msgpack.UnpackException, ValueError, TypeError, RecursionError, OverflowError)
"""What the reader raises for bad bytes; TypeError is a map whose key is a list."""

LATER = b""
"""The answer of a message whose reply will be written later, with `reply`: nothing else is asked there till then."""

OWED = b"owed"
"""The same, with `pay`, on a connection where more may be asked meanwhile."""

pack = msgpack.Packer(unicode_errors="surrogateescape").pack


_READ_SIZE = 16 * 1024
"""Bytes that a reader sets aside: it takes more for a longer message, and by itself 1 MiB, for each of some hundred
connections."""


def _no_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def unpacker() -> msgpack.Unpacker:
    """A streaming reader for which every byte string is text: no byte can make a filter be skipped."""
    return msgpack.Unpacker(
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=MAX_FRAME,
        read_size=_READ_SIZE,
        ext_hook=_no_extension,
    )


class Connections:
    """The live connections of one process. lost: called with the lane of each that ends."""

    def __init__(self, clock: Callable[[], float], lost: Callable[[str], None] = lambda lane: None) -> None:
        self.stall = Stall(clock, self.close_stale)
        self.live: set[FrameProtocol] = set()
        self.lost = lost

    def close(self) -> None:
        """Close all of them; what was answered is still sent."""
        for connection in list(self.live):
            connection.close()

    def close_stale(self) -> None:
        """Close those on which something waits, in or out: it may be so old that the other side has given up."""
        pairs = [(connection.fileno(), connection) for connection in self.live]
        unread = waiting(fd for fd, _ in pairs if fd >= 0)
        for fd, connection in pairs:
            connection.close_if_stale(fd < 0 or fd in unread)


class FrameProtocol(asyncio.Protocol):
    """Reads messages and answers each with `answer(message)`; closes on what is not MessagePack.

    When this process stood still for so long that the other side has given up (`stall`), nothing is answered: an
    answer now could reach another request. Not so where `late_is_harmless`: the other side closes the connection when
    it gives up, or knows answers by their numbers.
    """

    late_is_harmless: ClassVar[bool] = False

    def __init__(self, lane: str, home: Connections) -> None:
        self.lane = lane
        self._home = home
        self._stall = home.stall
        self._unpacker = unpacker()
        self._fed = self._whole = 0  # bytes; of whole messages
        self._broken = False
        self.waiting = False
        self.owed = 0
        self._since = 0.0
        self.transport: asyncio.Transport | None = None

    def answer(self, message: Any) -> bytes | None:
        """The bytes to send for one message; None closes the connection; LATER: see `reply`; OWED: see `owe`."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._home.live.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self in self._home.live:
            self._home.live.discard(self)
            self._home.lost(self.lane)

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if self._stall.happened() and not self.late_is_harmless:
            transport.close()  # this was read already, so close_stale could not see it
            return
        replies: list[bytes] = []
        end = False
        for message in self._messages(data):
            reply = None if self.waiting else self.answer(message)
            if reply is None:
                end = True
                break
            if reply is LATER:
                self.waiting = True
                self._since = self._stall.clock()
            elif reply is not OWED:
                replies.append(reply)
        if self._stall.happened() and not self.late_is_harmless:
            transport.close()  # these answers took too long
            return
        if replies:
            transport.write(replies[0] if len(replies) == 1 else b"".join(replies))
        if end or self._broken:
            transport.close()

    def reply(self, data: bytes) -> None:
        """Write the answer that was LATER; too late, it closes the connection."""
        self.waiting = False
        if self.transport is None:
            return
        if self._stall.clock() - self._since > LIMIT_SECONDS and not self.late_is_harmless:
            self.transport.close()
        else:
            self.transport.write(data)

    def owe(self) -> float:
        """The answer to one of many questions on this connection comes later, with `pay`; when it was asked."""
        self.owed += 1
        return self._stall.clock()

    def pay(self, data: bytes, since: float) -> None:
        """Write an answer that was owed; too late, it closes the connection."""
        self.owed -= 1
        if self.transport is None:
            return
        if self._stall.clock() - since > LIMIT_SECONDS and not self.late_is_harmless:
            self.transport.close()
        else:
            self.transport.write(data)

    def fileno(self) -> int:
        """The socket's descriptor, -1 without one."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        return -1 if sock is None else int(sock.fileno())

    def close_if_stale(self, unread: bool) -> None:
        """After the process stood still: end what the other side may have given up. unread: bytes wait."""
        if self.transport is None or self.late_is_harmless:
            return
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # close would still send it
        elif unread or self._fed != self._whole:
            self.transport.close()

    def close(self) -> None:
        """Close the connection; what was answered is still sent."""
        if self.transport is not None:
            self.transport.close()

    def hand_over(self) -> int | None:
        """Give the connection away between two messages: its descriptor, now the caller's, or None when a
        message or an answer is under way."""
        transport = self.transport
        if transport is None or transport.is_closing() or self.waiting or self.owed:
            return None
        if self._fed != self._whole or transport.get_write_buffer_size():
            return None
        self._home.live.discard(self)  # not lost: it lives on elsewhere
        transport.pause_reading()
        fd = os.dup(transport.get_extra_info("socket").fileno())
        transport.abort()
        return fd

    def _messages(self, data: bytes) -> Iterator[Any]:
        try:
            self._unpacker.feed(data)
            self._fed += len(data)
            for message in self._unpacker:
                self._whole = self._unpacker.tell()  # also moves within a message that is not whole
                yield message
        except NOT_MESSAGEPACK as error:
            log.warning("a connection is closed: not a message: %s", error or type(error).__name__)
            self._broken = True
