"""An upstream on real sockets that does what the path says and remembers every request it saw.

/echo            200 with the request as JSON          /status/N   answers N with telling headers
/slow/SECONDS    answers late                          /reset      resets the connection
/big/BYTES       a body of that many bytes             /stream/N   N chunks, one every 20 ms
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

http.client._MAXHEADERS = 1000  # type: ignore[attr-defined] # a flood of headers shall arrive


class Seen(NamedTuple):
    """One request as it arrived; header names as they were sent."""

    method: str
    path: str
    headers: list[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        """The values of a header, under every spelling that a WSGI server would take for it."""
        wanted = name.lower().replace("-", "_")
        return [value for key, value in self.headers if key.lower().replace("-", "_") == wanted]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    name: str
    seen: list[Seen]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are written apart: Nagle would hold the body for 40 ms
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.server.seen.append(Seen(self.command, self.path, self.headers.items()))
        parts = self.path.partition("?")[0].strip("/").split("/")
        verb, argument = (parts[-2], parts[-1]) if len(parts) > 1 else (parts[-1], "")
        if parts[-1] == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
            return
        if verb == "slow":
            time.sleep(float(argument))
        if verb == "stream":
            self._stream(int(argument))
            return
        status = int(argument) if verb == "status" else 200
        text = json.dumps({"server": self.server.name, "method": self.command, "path": self.path,
                           "headers": self.headers.items(), "body": len(body)}).encode()  # fmt: skip
        if verb == "big":
            text = b"x" * int(argument)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if verb == "status":
            for name, value in (("ETag", '"old"'), ("Set-Cookie", "old=1"), ("Content-Encoding", "identity"),
                                ("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")):  # fmt: skip
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _stream(self, chunks: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(chunks):
            line = f"chunk {number}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(0.02)
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = _answer


class Upstream:
    """One server on a free loopback port."""

    def __init__(self, name: str) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.name, self._server.seen = name, []
        self.seen = self._server.seen
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
