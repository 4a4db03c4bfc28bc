"""The proxy's client side: one request to one upstream address, on a pooled or a new connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import h11

from sandbox.http1 import Pairs, decode_headers, encode_headers

_CHUNK = 65536
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Failed(Exception):
    """The upstream gave no response: `refused`, `connect_timeout`, `reset` or `read_timeout`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass
class Response:
    """The head of the upstream's response; the body is read from `connection`."""

    status: int
    reason: str
    headers: Pairs
    connection: Connection


class Connection:
    """One connection to an upstream, for one request at a time."""

    def __init__(self, stream: Stream, pool: UpstreamPool, key: tuple[str, int, bool]) -> None:
        self._reader, self._writer = stream
        self._pool, self._key = pool, key
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self._sender: asyncio.Task[None] | None = None
        self._read_timeout = 60.0
        self.cached = False

    @property
    def usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(
        self, method: str, target: str, headers: Pairs, body: AsyncIterator[bytes] | None, read_timeout: float
    ) -> Response:
        """Send the request and wait for the head of the response. Raises Failed."""
        self._read_timeout = read_timeout
        try:
            self._write(
                h11.Request(
                    method=method.encode(), target=target.encode("latin-1"), headers=encode_headers(headers)
                )
            )
            if body is None:
                self._write(h11.EndOfMessage())
                await self._writer.drain()
            else:
                self._sender = asyncio.create_task(self._send_body(body))
            return await self._head()
        except ConnectionError as e:
            raise Failed("reset") from e

    async def _send_body(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in body:
                self._write(h11.Data(data=chunk))
                await self._writer.drain()
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        except (ConnectionError, h11.LocalProtocolError):
            pass  # the reading side tells what happened

    def _write(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        data = self._h11.send(event)
        if data:
            self._writer.write(data)

    async def _event(self) -> object:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            try:
                async with asyncio.timeout(self._read_timeout):
                    data = await self._reader.read(_CHUNK)
            except TimeoutError as e:
                raise Failed("read_timeout") from e
            self._h11.receive_data(data)

    async def _head(self) -> Response:
        while True:
            try:
                event = await self._event()
            except h11.RemoteProtocolError as e:
                raise Failed("reset") from e
            if isinstance(event, h11.Response):
                reason = bytes(event.reason).decode("latin-1")
                return Response(event.status_code, reason, decode_headers(event.headers), self)
            if not isinstance(event, h11.InformationalResponse):
                raise Failed("reset")

    async def body(self) -> AsyncIterator[bytes]:
        """The response's body as it comes. Raises Failed when it breaks off."""
        while True:
            try:
                event = await self._event()
            except (h11.RemoteProtocolError, ConnectionError) as e:
                raise Failed("reset") from e
            if not isinstance(event, h11.Data):
                return
            yield bytes(event.data)

    async def release(self) -> None:
        """Back to the pool when the exchange is complete, else closed."""
        if self._sender is not None and not self._sender.done():
            self._sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sender
        self._sender = None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and self.usable:
            self._h11.start_next_cycle()
            self._pool.put(self._key, self)
        else:
            self.close()

    def close(self) -> None:
        self._writer.transport.abort()


class UpstreamPool:
    """Idle connections by address."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int, bool], deque[Connection]] = defaultdict(deque)

    async def get(self, host: str, port: int, tls: bool, timeout: float) -> Connection:
        """A connection, idle or new. Raises Failed."""
        key = (host, port, tls)
        while self._idle[key]:
            connection = self._idle[key].pop()
            if connection.usable:
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
        """Keep a connection; 256 an address at most."""
        queue = self._idle[key]
        if len(queue) >= 256:
            queue.popleft().close()
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
