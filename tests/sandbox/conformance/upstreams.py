"""Upstreams on loopback that a case steers: echoes that say what they saw, and some that fail.

A request's header X-Do steers an echo, parts divided by `;`: status=N, hdr=Name:value (again and again), chunked,
nolen (body until close), partial (less body than promised), body=TEXT.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from typing import Any, NamedTuple

ECHOES = ("up1", "up2", "up3", "status500")
FAILING = ("closes", "resets", "garbage", "hangs")
_DATE = "Mon, 01 Jan 2024 00:00:00 GMT"


class Seen(NamedTuple):
    """A request as it arrived."""

    upstream: str
    line: str
    headers: list[tuple[str, str]]
    body: str

    def shape(self) -> dict[str, Any]:
        """For a case to compare: header names in lower case, repeated ones joined."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        method, path, version = self.line.split(" ", 2)
        return {
            "upstream": self.upstream,
            "method": method,
            "path": path,
            "version": version,
            "headers": joined,
            "body": self.body,
        }


class Upstreams:
    """All of them, each on a free port; `seen` are the requests since it was cleared."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.ended = 0
        """How many requests to the one that hangs were given up."""
        self.ports: dict[str, int] = {}
        self._listeners: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        for name in (*ECHOES, *FAILING):
            self._listen(name)
        self._refuses = socket.socket()  # bound and not listening: nobody else gets the port
        self._refuses.bind(("127.0.0.1", 0))
        self.ports["refuses"] = int(self._refuses.getsockname()[1])

    def _listen(self, name: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listeners.append(listener)
        self.ports[name] = int(listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(name, listener), daemon=True).start()

    def variables(self) -> dict[str, Any]:
        """What cases write as ${up1} and ${up1.port}."""
        addresses = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        return addresses | {f"{name}.port": port for name, port in self.ports.items()}

    def close(self) -> None:
        for each in [*self._listeners, *self._open, self._refuses]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, name: str, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(name, connection), daemon=True).start()

    def _serve(self, name: str, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection:
            stream = connection.makefile("rb")
            while self._one(name, connection, stream):
                pass
        self._open.discard(connection)

    def _one(self, name: str, connection: socket.socket, stream: Any) -> bool:
        line = stream.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return False
        headers: list[tuple[str, str]] = []
        while text := stream.readline().decode("latin-1").rstrip("\r\n"):
            key, _, value = text.partition(":")
            headers.append((key, value.strip()))
        found = {key.lower(): value for key, value in headers}
        body = _body(stream, found)
        self.seen.append(Seen(name, line, headers, body.decode("latin-1")))
        if name == "hangs":
            connection.settimeout(30)
            if not connection.recv(1):
                self.ended += 1
        if name == "resets":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if name == "garbage":
            connection.sendall(b"not http at all\r\n\r\n")
        if name in FAILING:
            return False
        return _answer(name, connection, line, found, self.seen[-1])


def _body(stream: Any, headers: dict[str, str]) -> bytes:
    if "content-length" in headers:
        return bytes(stream.read(int(headers["content-length"])))
    parts = []
    if headers.get("transfer-encoding") == "chunked":
        while size := int(stream.readline().split(b";")[0], 16):
            parts.append(stream.read(size))
            stream.readline()
        stream.readline()
    return b"".join(parts)


def _answer(name: str, connection: socket.socket, line: str, headers: dict[str, str], seen: Seen) -> bool:
    do = [part.partition("=") for part in headers.get("x-do", "").split(";") if part]
    flags = {key for key, _, _ in do}
    told = {key: value for key, _, value in do}
    status = int(told.get("status", "500" if name == "status500" else "200"))
    body = told["body"].encode() if "body" in told else json.dumps(seen.shape()).encode()
    lines = [
        f"HTTP/1.1 {status} X",
        f"Date: {_DATE}",
        f"X-Upstream: {name}",
        "Content-Type: application/json",
    ]
    lines += [value.replace(":", ": ", 1) for key, _, value in do if key == "hdr"]
    if "chunked" in flags:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif "nolen" in flags:
        lines.append("Connection: close")
    elif status not in (204, 304):
        lines.append(f"Content-Length: {len(body) + (10 if 'partial' in flags else 0)}")
    bodiless = line.startswith("HEAD ") or status in (204, 304)
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    connection.sendall(head + (b"" if bodiless else body))
    return not flags & {"nolen", "partial"}
