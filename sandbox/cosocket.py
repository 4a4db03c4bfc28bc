"""Cosockets: sockets of Lua code on the event loop, with OpenResty's errors, timeouts and connection pools.

Used by ngx.socket.tcp of the shim and by the RPC to external plugins. A pooled connection that gets data or
is closed by its peer while idle is dropped, as OpenResty does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Any

Answer = tuple[Any, ...]
_ERRORS = {
    ConnectionRefusedError: "connection refused",
    FileNotFoundError: "no such file or directory",
    PermissionError: "permission denied",
    ConnectionResetError: "connection reset by peer",
}


class Connection(asyncio.Protocol):
    """One stream with a read buffer; at most one reader waits."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.closed = False
        self.error: str | None = None
        self.reused = 0
        self.pool: Pool | None = None
        self.key = ""
        self.idle = False
        self.expiry: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.idle:
            self._leave_pool()
            return
        self.buffer += data
        self._wake()

    def eof_received(self) -> bool:
        self.closed = True
        if self.idle:
            self._leave_pool()
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if exc is not None:
            self.error = _ERRORS.get(type(exc)) if isinstance(exc, OSError) else None
        if self.idle:
            self._leave_pool()
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def more(self, timeout: float) -> bool:
        """Wait for data or the end; False on timeout."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._waiter
        except TimeoutError:
            return False
        finally:
            self._waiter = None
        return True

    async def drained(self, timeout: float) -> bool:
        """Wait until the peer takes more; False on timeout."""
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            return False
        return True

    @property
    def can_write(self) -> bool:
        return self._writable.is_set()

    def abort(self) -> None:
        self.closed = True
        if self.expiry:
            self.expiry.cancel()
        self.transport.abort()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _leave_pool(self) -> None:
        self.idle = False
        if self.pool:
            self.pool.discard(self)
        self.abort()


class Pool:
    """Idle connections by name; the one that was used last is taken first."""

    def __init__(self) -> None:
        self._idle: dict[str, deque[Connection]] = {}
        self._open: set[Connection] = set()

    def track(self, connection: Connection) -> None:
        """A connection in use: it is closed with the pool, whatever becomes of its user."""
        self._open = {each for each in self._open if not each.closed} | {connection}

    def take(self, key: str) -> Connection | None:
        """An idle connection, or None."""
        queue = self._idle.get(key)
        if not queue:
            return None
        connection = queue.pop()
        if connection.expiry:
            connection.expiry.cancel()
        connection.idle = False
        connection.reused += 1
        return connection

    def put(self, connection: Connection, key: str, seconds: float, size: int) -> None:
        """Keep a connection for the next user; the oldest goes when the pool is full."""
        queue = self._idle.setdefault(key, deque())
        while len(queue) >= max(size, 1):
            queue[0].idle = False
            queue.popleft().abort()
        connection.idle, connection.pool, connection.key = True, self, key
        if seconds > 0:
            connection.expiry = asyncio.get_running_loop().call_later(seconds, connection._leave_pool)
        queue.append(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a connection."""
        queue = self._idle.get(connection.key)
        if queue:
            with contextlib.suppress(ValueError):
                queue.remove(connection)

    def close(self) -> None:
        """Close all, those in use too."""
        for connection in self._open:
            connection.abort()
        self._open.clear()
        for queue in self._idle.values():
            while queue:
                connection = queue.pop()
                connection.idle = False
                connection.abort()


async def dial(host: str, port: int | None, timeout: float) -> Connection:
    """A new connection to `unix:/path` or host and port. Raises OSError, TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        if host.startswith("unix:"):
            _, connection = await loop.create_unix_connection(Connection, host[5:])
        else:
            _, connection = await loop.create_connection(
                Connection, "127.0.0.1" if host == "localhost" else host, port or 0
            )
    return connection


class Cosocket:
    """The handle behind one Lua socket object."""

    def __init__(self, pool: Pool, connect: float, send: float, read: float) -> None:
        self._pool = pool
        self._timeouts = (connect, send, read)
        self._connection: Connection | None = None
        self._key = ""
        self._until = b""

    def timeouts(self, connect: float | None, send: float | None, read: float | None) -> None:
        """Milliseconds; None keeps what is set."""
        given = (connect, send, read)
        self._timeouts = tuple(
            old if ms is None else ms / 1000 for old, ms in zip(self._timeouts, given, strict=True)
        )  # type: ignore[assignment]

    def reuse(self, host: str, port: int | None, pool: str | None) -> bool:
        """Take a pooled connection, if there is one."""
        self.close()
        self._key = pool or (host if host.startswith("unix:") else f"{host}:{port}")
        self._connection = self._pool.take(self._key)
        return self._connection is not None

    async def connect(self, host: str, port: int | None) -> Answer:
        try:
            self._connection = await dial(host, port, self._timeouts[0])
            self._pool.track(self._connection)
        except TimeoutError:
            return None, "timeout"
        except OSError as e:
            return None, _ERRORS.get(type(e)) or (e.strerror or str(e)).lower()
        return (1,)

    def send(self, data: str) -> Answer:
        """(sent,), (None, error), or (None, None) when the caller must wait for the peer."""
        connection = self._connection
        if connection is None or connection.closed:
            return None, (connection.error if connection else None) or "closed"
        connection.transport.write(data.encode("latin-1"))
        return (len(data),) if connection.can_write else (None, None)

    async def flush(self) -> Answer:
        if self._connection and not await self._connection.drained(self._timeouts[1]):
            return None, "timeout"
        return (1,)

    def read(self, pattern: str, n: int) -> Answer | None:
        """(data,) or (None, error, partial) when it can be said now, else None."""
        connection = self._connection
        if connection is None:
            return None, "closed"
        buffer = connection.buffer
        size = -1
        skip = 0
        if pattern == "n":
            size = n if len(buffer) >= n else -1
        elif pattern == "any":
            size = min(len(buffer), n) or -1
        elif pattern == "l":
            size = buffer.find(b"\n")
            skip = 1
        elif pattern == "a":
            size = len(buffer) if connection.closed else -1
        else:
            boundary = pattern[6:].encode("latin-1")
            size = buffer.find(boundary)
            skip = len(boundary)
        if size >= 0:
            data = bytes(buffer[:size])
            del buffer[: size + skip]
            text = data.decode("latin-1")
            return (text.replace("\r", "") if pattern == "l" else text,)
        if connection.closed:
            partial = bytes(buffer).decode("latin-1")
            buffer.clear()
            return None, connection.error or "closed", partial
        return None

    async def wait_read(self, pattern: str, n: int) -> Answer:
        while True:
            answer = self.read(pattern, n)
            if answer is not None:
                return answer
            if self._connection and not await self._connection.more(self._timeouts[2]):
                partial = bytes(self._connection.buffer).decode("latin-1")
                self._connection.buffer.clear()
                return None, "timeout", partial

    def keepalive(self, ms: float | None, size: int | None) -> Answer:
        connection = self._connection
        self._connection = None
        if connection is None or connection.closed:
            return None, "closed"
        if connection.buffer:
            connection.abort()
            return None, "unread data in buffer"
        self._pool.put(connection, self._key, 60.0 if ms is None else ms / 1000, int(size or 30))
        return (1,)

    def reused(self) -> Answer:
        return (self._connection.reused,) if self._connection else (None, "closed")

    def close(self) -> Answer:
        connection, self._connection = self._connection, None
        if connection is None:
            return None, "closed"
        connection.transport.close()
        return (1,)
