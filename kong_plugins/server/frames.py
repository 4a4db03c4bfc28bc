"""MessagePack over a stream, as both lanes use it: limits, odd bytes, and one packer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any, cast

import msgpack

log = logging.getLogger("kgate.server")

MAX_FRAME = 8 * 1024 * 1024
"""Bytes of one message; the connection is closed on more."""

_NOT_MESSAGEPACK = (msgpack.UnpackException, ValueError, TypeError, RecursionError, OverflowError)
"""What the reader raises for bad bytes; TypeError is a map whose key is a list."""

pack = msgpack.Packer(unicode_errors="surrogateescape").pack


def _no_extension(code: int, _data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def unpacker() -> msgpack.Unpacker:
    """A streaming reader for which every byte string is text: no byte can make a filter be skipped."""
    return msgpack.Unpacker(
        unicode_errors="surrogateescape",
        strict_map_key=False,
        max_buffer_size=MAX_FRAME,
        ext_hook=_no_extension,
    )


class FrameProtocol(asyncio.Protocol):
    """Reads messages and answers each with `answer(message)`; closes on what is not MessagePack."""

    def __init__(self, connections: set[FrameProtocol]) -> None:
        self._connections = connections
        self._unpacker = unpacker()
        self.transport: asyncio.Transport | None = None

    def answer(self, message: Any) -> bytes | None:
        """The bytes to send for one message; None closes the connection."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        for message in self._messages(data):
            reply = self.answer(message)
            if reply is None:
                transport.close()
                return
            transport.write(reply)

    def _messages(self, data: bytes) -> Iterator[Any]:
        try:
            self._unpacker.feed(data)
            yield from self._unpacker
        except _NOT_MESSAGEPACK as error:
            log.warning("a connection is closed: not a message: %s", error or type(error).__name__)
            if self.transport is not None:
                self.transport.close()
