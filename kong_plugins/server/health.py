"""Health and metrics over HTTP on a TCP port of its own: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("kgate.health")

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

READ_SECONDS = 5.0
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def json_answer(ok: bool, told: dict[str, Any]) -> Answer:
    """200 or 503 with a JSON body."""
    return 200 if ok else 503, "application/json", json.dumps(told).encode() + b"\n"


class Health:
    """A small HTTP/1.1 server for probes and scrapes: GET and HEAD, one request a connection."""

    def __init__(self, routes: dict[str, Callable[[], Answer]]) -> None:
        self._routes = routes
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=16_384)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), ""]
                status, kind, body = self._answer(method, target.partition("?")[0])
                lines = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
                lines += (
                    f"Content-Length: {len(body)}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n"
                )
                writer.write(lines.encode() + (b"" if method == "HEAD" else body))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # a prober that went away, or speaks no HTTP
        finally:
            writer.close()

    def _answer(self, method: str, path: str) -> Answer:
        if method not in ("GET", "HEAD"):
            return 405, "text/plain", b"GET or HEAD\n"
        route = self._routes.get(path)
        if route is None:
            return 404, "text/plain", " ".join(self._routes).encode() + b"\n"
        return route()
