"""The proxy's client side: one request to one upstream address, on a pooled or a new connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sandbox import wire
from sandbox.wire import Pairs

_CHUNK = 65536
_POOL_SIZE = 512  # upstream_keepalive_pool_size
_IDLE_SECONDS = 60.0  # upstream_keepalive_idle_timeout
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Failed(Exception):
    """The upstream gave no response.

    kind: `refused`, `connect_timeout`, `reset`, `read_timeout`, `write_timeout`, or `invalid` for an answer that
    is none. cached: on a kept connection.
    """

    def __init__(self, kind: str, cached: bool = False) -> None:
        super().__init__(kind)
        self.kind, self.cached = kind, cached


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, between two writes, between two reads."""

    connect: float
    write: float
    read: float


@dataclass
class Response:
    """The head of the upstream's response; the body is read from `connection`."""

    status: int
    reason: str
    headers: Pairs
    connection: Connection
    version: str = "1.1"
    """`0.9`: the upstream sent no head; its bytes go to the client as they are, as nginx does."""


class Connection:
    """One connection to an upstream, for one request at a time."""

    def __init__(self, stream: Stream, pool: UpstreamPool, key: tuple[str, int, bool]) -> None:
        self._reader, self._writer = stream
        self._pool, self._key = pool, key
        self._buffer = bytearray()
        self._sender: asyncio.Task[None] | None = None
        self._timeouts = Timeouts(60, 60, 60)
        self._left: int | None = 0  # of the body; None until the connection closes
        self._chunks: wire.Chunked | None = None
        self._complete = False
        self._kept = False
        self.cached = False
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing() and not self._buffer

    async def exchange(
        self, method: str, target: str, headers: Pairs, body: AsyncIterator[bytes] | None, timeouts: Timeouts
    ) -> Response:
        """Send the request and wait for the head of the response. Raises Failed."""
        self._timeouts, self._complete = timeouts, False
        chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
        try:
            self._writer.write(wire.encode_head(f"{method} {target} HTTP/1.1", headers))
            if body is None:
                await self._drain()
                head = await self._head()
            else:
                head = await self._send_and_read(body, chunked)
        except ConnectionError as e:
            raise Failed("reset") from e
        self._frame(method, head)
        return Response(head.status, head.reason, head.headers, self, head.version)

    async def _send_and_read(self, body: AsyncIterator[bytes], chunked: bool) -> wire.ResponseHead:
        sender = self._sender = asyncio.create_task(self._send_body(body, chunked))
        # what broke the sending is told by the reading side, or here
        sender.add_done_callback(lambda task: task.cancelled() or task.exception())
        reader = asyncio.create_task(self._head(sender))
        try:
            await asyncio.wait([sender, reader], return_when=asyncio.FIRST_COMPLETED)
            if sender.done() and not reader.done():
                sender.result()  # raises what broke the sending
            return await reader
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError, Failed, ConnectionError):
                await reader

    async def _send_body(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        try:
            async for chunk in body:
                self._writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._drain()
            if chunked:
                self._writer.write(b"0\r\n\r\n")
            await self._drain()
        except ConnectionError:
            pass  # the reading side tells what happened

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._timeouts.write):
                await self._writer.drain()
        except TimeoutError as e:
            raise Failed("write_timeout") from e

    async def _read(self) -> bool:
        try:
            async with asyncio.timeout(self._timeouts.read):
                data = await self._reader.read(_CHUNK)
        except TimeoutError as e:
            raise Failed("read_timeout") from e
        except ConnectionError as e:
            raise Failed("reset") from e
        self._buffer += data
        return bool(data)

    async def _head(self, sender: asyncio.Task[None] | None = None) -> wire.ResponseHead:
        try:
            while True:
                end = wire.response_end(self._buffer) if self._buffer else 0
                if end < 0:
                    return wire.ResponseHead("0.9", 200, "", [])
                if end:
                    head = wire.response_head(bytes(self._buffer[:end]))
                    del self._buffer[:end]
                    if head.status >= 200 or head.status == 101:
                        return head
                    continue
                if not await self._next(sender):
                    raise Failed("reset")
        except wire.BadResponse as e:
            raise Failed("invalid") from e

    async def _next(self, sender: asyncio.Task[None] | None) -> bool:
        # the time to answer starts when the request is out: until then only the client's pace counts
        while True:
            try:
                return await self._read()
            except Failed as e:
                if e.kind != "read_timeout" or sender is None or sender.done():
                    raise

    def _frame(self, method: str, head: wire.ResponseHead) -> None:
        known = {name.lower(): value for name, value in head.headers}
        self._chunks = None
        bare = method == "HEAD" or head.status in (204, 304)
        length = known.get("content-length", "")
        if bare:
            self._left = 0
        elif head.version != "0.9" and known.get("transfer-encoding", "").lower() == "chunked":
            self._left, self._chunks = 0, wire.Chunked()
        else:
            self._left = int(length) if length.isascii() and length.isdigit() else None
        options = known.get("connection", "").lower()
        self._kept = "close" not in options if head.version == "1.1" else "keep-alive" in options

    async def body(self) -> AsyncIterator[bytes]:
        """The response's body as it comes. Raises Failed when it breaks off."""
        while True:
            part = self._take()
            if part:
                yield part
            if self._complete:
                return
            if part:
                continue
            if not await self._read():
                if self._left is None and self._chunks is None:
                    self._complete = True
                    return
                raise Failed("reset")

    def _take(self) -> bytes:
        if self._chunks is not None:
            try:
                part = self._chunks.feed(bytes(self._buffer))
            except wire.BodyError as e:
                raise Failed("reset") from e
            self._buffer = bytearray(self._chunks.rest if self._chunks.done else b"")
            self._complete = self._chunks.done
            return part
        if self._left is None:
            part = bytes(self._buffer)
            self._buffer.clear()
            return part
        part = bytes(self._buffer[: self._left])
        del self._buffer[: len(part)]
        self._left -= len(part)
        self._complete = not self._left
        return part

    def upgraded(self) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
        """After 101: what came behind the head, and the bare connection."""
        ahead = bytes(self._buffer)
        self._buffer.clear()
        return ahead, self._reader, self._writer

    async def release(self) -> None:
        """Back to the pool when the exchange is complete, else closed."""
        sender, self._sender = self._sender, None
        sent = sender is None or (sender.done() and not sender.cancelled() and sender.exception() is None)
        if sender is not None and not sender.done():
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, Failed):
                await sender
        # a body that was not asked for (HEAD, 204) ends with its head
        whole = self._complete or (self._left == 0 and self._chunks is None)
        if whole and sent and self._kept and self.usable:
            self._pool.put(self._key, self)
        else:
            self.close()

    def close(self) -> None:
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()
        self._writer.transport.abort()


class UpstreamPool:
    """Idle connections by address."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], deque[Connection]] = defaultdict(deque)

    async def get(self, host: str, port: int, tls: bool, timeout: float) -> Connection:
        """A connection, idle or new. Raises Failed."""
        key = (host, port, tls)
        now = asyncio.get_running_loop().time()
        while self._idle[key]:
            connection = self._idle[key].pop()
            if connection.usable and now - connection.idle_since < _IDLE_SECONDS:
                connection.cached = True
                return connection
            connection.close()
        try:
            async with asyncio.timeout(timeout):
                stream = await asyncio.open_connection(
                    host, port, ssl=_context() if tls else None, limit=_CHUNK
                )
        except TimeoutError as e:
            raise Failed("connect_timeout") from e
        except OSError as e:
            raise Failed("refused") from e
        return Connection(stream, self, key)

    def put(self, key: tuple[str, int, bool], connection: Connection) -> None:
        """Keep a connection; the oldest goes when there are too many of an address."""
        queue = self._idle[key]
        if len(queue) >= _POOL_SIZE:
            queue.popleft().close()
        connection.idle_since = asyncio.get_running_loop().time()
        queue.append(connection)

    def close(self) -> None:
        """Close all."""
        for queue in self._idle.values():
            while queue:
                queue.pop().close()


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False  # Kong's tls_verify is off by default
    context.verify_mode = ssl.CERT_NONE
    return context
