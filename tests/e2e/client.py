"""A raw HTTP/1.1 client: any byte, any spelling, any loopback source address."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Headers = dict[str, str] | list[tuple[str, str]]


class Answer(NamedTuple):
    """What came back; header names in lower case, repeated ones joined by a comma."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> Any:
        """The reason id of a problem, if it is one."""
        return self.json.get("reason") if "problem+json" in self.headers.get("content-type", "") else None


class Client:
    """Talks to one proxy."""

    def __init__(self, proxy: str) -> None:
        parts = urlsplit(proxy)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)

    def __call__(
        self,
        path: str,
        method: str = "GET",
        headers: Headers | None = None,
        *,
        token: str | None = None,
        host: str = "shop.example",
        source: str = "127.0.0.1",
        body: bytes = b"",
        timeout: float = 20,
    ) -> Answer:
        """One request on a connection of its own. Text is sent as Latin-1: any byte can be said."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
        pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        if token is not None:
            pairs.append(("Authorization", f"Bearer {token}"))
        if body or method in ("POST", "PUT"):
            pairs.append(("Content-Length", str(len(body))))
        if not any(name.lower() == "connection" for name, _ in pairs):
            pairs.append(("Connection", "close"))
        lines += [f"{name}: {value}" for name, value in pairs]
        raw = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        started = time.monotonic()
        with socket.create_connection(self.address, timeout, source_address=(source, 0)) as sock:
            sock.sendall(raw)
            response = http.client.HTTPResponse(sock, method=method)
            response.begin()
            found: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                found[key] = f"{found[key]}, {value}" if key in found else value
            content = response.read()
            response.close()
        return Answer(response.status, found, content, time.monotonic() - started)
