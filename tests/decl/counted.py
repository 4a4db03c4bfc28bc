"""An HTTP server that knows its open connections: what a client had sent before it was killed is still handled."""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any


class CountedServer(ThreadingHTTPServer):
    """`settled` returns when all has been handled."""

    daemon_threads = True
    request_queue_size = 128  # a client opens many connections at once: with 5 some wait a second

    def __init__(self, *arguments: Any) -> None:
        self._open = 0
        self._came: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(*arguments)

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._open

    def process_request(self, request: Any, client_address: Any) -> None:
        """Counted where connections are taken one after the other."""
        with self._changed:
            self._open += 1
            self._came.add(client_address)
            self._changed.notify_all()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def settled(self, others: int = 0) -> None:
        """Return when only so many are left, of those too that the kernel has taken and this server has not yet."""
        with socket.create_connection(self.server_address[:2]) as last:  # they are taken in their order
            self._wait(lambda: last.getsockname() in self._came)
        self._wait(lambda: self._open <= others)

    def _wait(self, true: Any) -> None:
        with self._changed:
            assert self._changed.wait_for(true, 20)
