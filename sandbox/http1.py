"""The server side of HTTP/1 on asyncio streams: nginx's rules of reading, framing and closing.

The bytes are read by `wire`; here are the connection's life, the body's flow and the answer's framing.
Text is latin-1 of the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
from collections.abc import AsyncIterator

from sandbox import wire
from sandbox.request import Abort, Request
from sandbox.wire import BadRequest, Pairs

_CHUNK = 65536
_IDLE_SECONDS = 60.0
_SEND_SECONDS = 60.0
_LINGER_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_AHEAD = 1 << 20
_NOT_ALLOWED = ("TRACE", "CONNECT")


class Connection:
    """One client connection: requests one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()
        self._request: Request | None = None
        self._left = 0
        self._chunks: wire.Chunked | None = None
        self._continue = False
        self._finished = False
        self.busy = False

    async def _more(self) -> bool:
        data = await self._reader.read(_CHUNK)
        self._buffer += data
        return bool(data)

    async def next_request(self) -> Request | None:
        """The next request, or None when the client is done. A broken one comes with `error` set."""
        peer = self._writer.get_extra_info("peername")[:2]
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                head = await self._head()
        except BadRequest as e:
            self._request = Request("GET", "/", e.version, [], peer, self, error=e.status)
            return self._request
        except (TimeoutError, ConnectionError):
            return None
        if head is None:
            return None
        request = Request(
            head.method,
            head.target,
            head.version,
            head.headers,
            peer,
            self,
            length=head.length,
            authority=head.authority,
        )
        if head.method in _NOT_ALLOWED:
            request.error = 405
        self._chunks = wire.Chunked() if head.length is None else None
        self._left = head.length or 0
        names = {name.lower(): value for name, value in head.headers}
        request.has_body = head.length is None or "content-length" in names
        self._continue = head.version == "1.1" and names.get("expect", "").lower() == "100-continue"
        self._request, self._finished = request, False
        return request

    async def _head(self) -> wire.RequestHead | None:
        while True:
            while self._buffer.startswith((b"\r", b"\n")):
                del self._buffer[:1]
            end = wire.request_end(self._buffer) if self._buffer else 0
            if end:
                data = bytes(self._buffer[:end])
                del self._buffer[:end]
                return wire.request_head(data)
            if not await self._more():
                return None

    async def read_body(self) -> bytes | None:
        """The next part of the body; None at its end. Raises Abort, BadRequest."""
        while True:
            if self._chunks is None:
                if not self._left:
                    return None
                part = bytes(self._buffer[: self._left])
                del self._buffer[: len(part)]
                self._left -= len(part)
            else:
                if self._chunks.done:
                    return None
                part = self._decode(self._chunks)
            if part:
                return part
            if self._chunks is not None and self._chunks.done:
                return None
            await self._body_more()

    def _decode(self, chunks: wire.Chunked) -> bytes:
        try:
            part = chunks.feed(bytes(self._buffer))
        except wire.BodyError as e:
            raise BadRequest(400) from e
        self._buffer = bytearray(chunks.rest if chunks.done else b"")
        return part

    def go_on(self) -> None:
        """Say that the body may come, when the client waits for that. nginx does so without a body as well."""
        if self._continue:
            self._continue = False
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _body_more(self) -> None:
        self.go_on()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                if not await self._more():
                    raise Abort("the client broke off")
        except (ConnectionError, TimeoutError) as e:
            raise Abort from e

    async def left_by_client(self) -> None:
        """Wait until the client has closed its connection. Cancelled where that matters no more."""
        while self.unread:  # its body is read by somebody else, who meets the end
            await asyncio.sleep(_LOOK_SECONDS)
        with contextlib.suppress(ConnectionError):
            while len(self._buffer) < _AHEAD:
                if not await self._more():
                    return
            await asyncio.Event().wait()  # so many requests ahead: it will want the answers

    async def respond(
        self,
        status: int,
        reason: str,
        headers: Pairs,
        body: AsyncIterator[bytes] | bytes,
        date: bool = True,
    ) -> int:
        """Send a response; gives the bytes of its body. Raises Abort when it cannot be finished.

        date: write a Date header if there is none.
        """
        request = self._request
        assert request is not None
        bare = request.method == "HEAD" or status in (204, 304) or status < 200
        known = {name.lower(): value for name, value in headers}
        length = known.get("content-length")
        chunked = length is None and not bare and request.version == "1.1"
        endless = length is None and not bare and request.version == "1.0"
        keep = request.keep_alive and not endless and request.error is None
        sent = 0
        try:
            if request.version != "0.9":
                own: Pairs = (
                    [] if "date" in known or not date else [("Date", email.utils.formatdate(usegmt=True))]
                )
                if chunked:
                    own.append(("Transfer-Encoding", "chunked"))
                own.append(("Connection", "keep-alive" if keep else "close"))
                self._writer.write(wire.encode_head(f"HTTP/1.1 {status} {reason}", [*own, *headers]))
            if isinstance(body, bytes):
                if body and not bare:
                    self._send(body, chunked)
                    sent = len(body)
            else:
                async for chunk in body:
                    if bare or not chunk:
                        continue
                    self._send(chunk, chunked)
                    sent += len(chunk)
                    await self._drain()
            if chunked:
                self._writer.write(b"0\r\n\r\n")
            await self._drain()
        except (ConnectionError, TimeoutError) as e:
            raise Abort(str(e)) from e
        short = length is not None and not bare and length.isdigit() and sent < int(length)
        self._finished = keep and not short
        return sent

    def _send(self, data: bytes, chunked: bool) -> None:
        if chunked:
            self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._writer.write(data)

    async def _drain(self) -> None:
        async with asyncio.timeout(_SEND_SECONDS):
            await self._writer.drain()

    async def respond_raw(self, body: AsyncIterator[bytes]) -> int:
        """Bytes without a head, until they end; the connection closes after them."""
        sent = 0
        try:
            async for chunk in body:
                self._writer.write(chunk)
                sent += len(chunk)
                await self._drain()
        except (ConnectionError, TimeoutError) as e:
            raise Abort(str(e)) from e
        return sent

    async def tunnel(
        self, headers: Pairs, ahead: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int:
        """Answer 101 and pass bytes both ways until one side ends; gives the bytes to the client."""
        self._writer.write(wire.encode_head("HTTP/1.1 101 Switching Protocols", headers) + ahead)
        writer.write(bytes(self._buffer))
        self._buffer.clear()
        passed = len(ahead)

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> int:
            count = 0
            while data := await source.read(_CHUNK):
                sink.write(data)
                count += len(data)
                await sink.drain()
            return count

        down = asyncio.create_task(copy(reader, self._writer))
        up = asyncio.create_task(copy(self._reader, writer))
        try:
            await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (down, up):
                task.cancel()
            results = await asyncio.gather(down, up, return_exceptions=True)
        return passed + (results[0] if isinstance(results[0], int) else 0)

    async def recycle(self) -> bool:
        """Get ready for the next request; False when the connection ends here."""
        if not self._finished:
            return False
        with contextlib.suppress(BadRequest):
            while await self.read_body() is not None:
                pass
            return True
        return False

    async def linger(self) -> None:
        """Take what the client still sends for a while: closing at once would reset what it has to read."""
        with contextlib.suppress(ConnectionError, TimeoutError, OSError):
            if self._writer.can_write_eof():
                self._writer.write_eof()
            async with asyncio.timeout(_LINGER_SECONDS):
                while await self._reader.read(_CHUNK):
                    pass

    @property
    def unread(self) -> bool:
        """Whether more of the request is to come than was read."""
        chunked = self._chunks is not None and not self._chunks.done
        bad = self._request is not None and self._request.error is not None
        return bool(self._left or chunked or bad)

    def abort(self) -> None:
        """Close at once, without another byte."""
        self._writer.transport.abort()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.close()
            await self._writer.wait_closed()
