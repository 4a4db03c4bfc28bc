"""HTTP/1.1 on asyncio streams, with h11 as the parser of both sides.

h11 keeps header bytes and spelling as they came, and lets us see how a connection failed: a proxy that must
answer as nginx does needs both. Text is latin-1 of the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h11

log = logging.getLogger("sandbox")
_CHUNK = 65536
_IDLE_SECONDS = 65.0
Pairs = list[tuple[str, str]]


class Abort(Exception):
    """Close the client's connection without (the rest of) an answer."""


class BodyTooLarge(Exception):
    """The request body is over the limit."""


def encode_headers(pairs: Pairs) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]


def decode_headers(headers: h11.Headers) -> Pairs:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw_items()]


@dataclass
class Request:
    """A request as parsed. A bad one has `error` set to the status it deserves."""

    method: str
    target: str
    version: str
    headers: Pairs
    peer: tuple[str, int]
    connection: Connection
    error: int | None = None
    has_body: bool = field(default=False)

    async def body(self) -> AsyncIterator[bytes]:
        """The body, as it comes."""
        while self.has_body:
            chunk = await self.connection.read_body()
            if chunk is None:
                self.has_body = False
                return
            yield chunk

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge."""
        parts, size = [], 0
        async for chunk in self.body():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            parts.append(chunk)
        return b"".join(parts)


class Connection:
    """One client connection: requests one after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)
        self.busy = False

    async def _event(self) -> object:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await self._reader.read(_CHUNK))

    def _write(self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._h11.send(event)
        if data:
            self._writer.write(data)

    async def next_request(self) -> Request | None:
        """The next request, or None when the client is done. A broken one comes with `error` set."""
        peer = self._writer.get_extra_info("peername")[:2]
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                event = await self._event()
        except h11.RemoteProtocolError as e:
            return Request("GET", "/", "1.1", [], peer, self, error=e.error_status_hint or 400)
        except (TimeoutError, ConnectionError):
            return None
        if not isinstance(event, h11.Request):
            return None
        headers = decode_headers(event.headers)
        names = [name.lower() for name, _ in headers]
        request = Request(
            event.method.decode("latin-1"),
            event.target.decode("latin-1"),
            event.http_version.decode("latin-1"),
            headers,
            peer,
            self,
        )
        request.has_body = "content-length" in names or "transfer-encoding" in names
        if "content-length" in names and "transfer-encoding" in names:
            request.error = 400
        return request

    async def read_body(self) -> bytes | None:
        """The next part of the body; None at its end. Raises Abort when the client breaks off."""
        try:
            event = await self._event()
        except (h11.RemoteProtocolError, ConnectionError) as e:
            raise Abort from e
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def respond(
        self, status: int, reason: str, headers: Pairs, body: AsyncIterator[bytes] | bytes
    ) -> int:
        """Send a response; gives the bytes of its body. Raises Abort when it cannot be finished."""
        sent = 0
        try:
            if status < 200:
                status = 502
            self._write(
                h11.Response(
                    status_code=status, headers=encode_headers(headers), reason=reason.encode("latin-1")
                )
            )
            if isinstance(body, bytes):
                if body:
                    self._write(h11.Data(data=body))
                    sent = len(body)
            else:
                async for chunk in body:
                    self._write(h11.Data(data=chunk))
                    sent += len(chunk)
                    await self._writer.drain()
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        except (h11.LocalProtocolError, ConnectionError) as e:
            raise Abort(str(e)) from e
        return sent

    async def recycle(self) -> bool:
        """Get ready for the next request; False when the connection ends here."""
        if self._h11.our_state is not h11.DONE:
            return False
        while self._h11.their_state is h11.SEND_BODY:
            if await self.read_body() is None:
                break
        if self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def abort(self) -> None:
        """Close at once, without another byte."""
        self._writer.transport.abort()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.close()
            await self._writer.wait_closed()


Handler = Callable[[Request], Awaitable[None]]


class Server:
    """Listens and runs one handler for each request; the handler answers by `request.connection.respond`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server
        self._tasks: dict[asyncio.Task[None], Connection] = {}

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Gives the real address; port 0 is a free port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_CHUNK, backlog=1024)
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    async def stop(self, grace: float = 2.0) -> None:
        """Stop listening, let running requests end for `grace` seconds, close the rest."""
        self._server.close()
        idle = [task for task, connection in self._tasks.items() if not connection.busy]
        for task in idle:
            task.cancel()
        if self._tasks:
            _, pending = await asyncio.wait(list(self._tasks), timeout=grace)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = connection
        try:
            await self._serve(connection)
        except (Abort, ConnectionError):
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()
        except Exception:  # the boundary: one request must not end the process
            log.exception("a request failed inside the sandbox")
            connection.abort()
        finally:
            del self._tasks[task]
            await connection.close()

    async def _serve(self, connection: Connection) -> None:
        while True:
            connection.busy = False
            request = await connection.next_request()
            if request is None:
                return
            connection.busy = True
            await self._handler(request)
            if request.error is not None or not await connection.recycle():
                return
