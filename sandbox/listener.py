"""A listening address: connections in, one handler for each request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sandbox.http1 import Connection
from sandbox.request import Abort, Request
from sandbox.wire import BadRequest

log = logging.getLogger("sandbox")
_CHUNK = 65536
Handler = Callable[[Request], Awaitable[None]]


class Server:
    """Listens and runs one handler for each request; the handler answers by `request.connection.respond`.

    handlers: the workers, by turns: each connection belongs to one of them.
    """

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = handlers
        self._accepted = 0
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
        handler = self._handlers[self._accepted % len(self._handlers)]
        self._accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = connection
        try:
            await self._serve(connection, handler)
        except (Abort, BadRequest, ConnectionError):
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()
        except Exception:  # the boundary: one request must not end the process
            log.exception("a request failed inside the sandbox")
            connection.abort()
        finally:
            del self._tasks[task]
            await connection.close()

    async def _serve(self, connection: Connection, handler: Handler) -> None:
        while True:
            connection.busy = False
            request = await connection.next_request()
            if request is None:
                return
            connection.busy = True
            await handler(request)
            if request.error is not None or not await connection.recycle():
                connection.busy = False
                if connection.unread:
                    await connection.linger()
                return
