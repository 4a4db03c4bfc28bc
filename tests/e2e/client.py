"""A raw HTTP/1.1 client: any byte, any spelling, any loopback source address.

Without a verdict in time a protected route is closed. That is what the tests expect where the plugin server is killed
or stopped, and a wrong failure where it runs and the machine stood still: there the request is sent again.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from tests.e2e.pauses import pauses
from tests.pace import TIGHT

Headers = dict[str, str] | list[tuple[str, str]]
T = TypeVar("T")

AWAY = ("server_away", "breaker_open", "no_verdict")
"""Reasons of the guard when it has no verdict; the last one is the pdk lane's."""
TRIES = 5
BREAKER_SECONDS = 0.6
"""The guard's breaker lets a request try again twice a second."""
LATELY_SECONDS = 2.0
"""A pause so long ago may still have the guard's breaker open."""


class Behind(Protocol):
    """The plugin server behind a proxy."""

    def serving(self) -> bool:
        """It runs and is not stopped."""

    def held_up(self) -> int:
        """How often it has noticed that it stood still."""


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
    """Talks to one proxy. behind: tells if the machine is to blame for a request without a verdict, which is then
    sent again; `again` counts them."""

    def __init__(self, proxy: str, behind: Behind | None = None) -> None:
        parts = urlsplit(proxy)
        self.address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.again = 0
        # KGATE_TIGHT is for an idle machine, and holds the requirements themselves
        self._behind = None if TIGHT else behind
        if self._behind is not None:
            pauses()
            self._held_up = self._behind.held_up()

    def __call__(self, path: str, method: str = "GET", headers: Headers | None = None, **more: Any) -> Answer:
        """What `once` gets, where the machine is not to blame for it."""
        for _ in range(TRIES - 1):
            begun = time.monotonic()
            answer = self.once(path, method, headers, **more)
            if self._behind is None or not self._held_up_since(begun, answer, self._behind):
                return answer
            self.again += 1
            time.sleep(BREAKER_SECONDS)
        return self.once(path, method, headers, **more)

    def _held_up_since(self, begun: float, answer: Answer, behind: Behind) -> bool:
        """Whether this is no verdict, and the machine stood still."""
        lost = answer.status == 503 and answer.reason in AWAY and behind.serving()
        # Kong gave up on the plugin server or on the upstream: in some tests it has to
        own = answer.status in (500, 502, 504) and b'"message"' in answer.body
        late = own or answer.headers.get("x-fallback", "").endswith("timeout")
        if not lost and not late:
            return False
        # a processor that stands still is noticed when it runs again
        until = time.monotonic() + (0.5 if lost else 0.06)
        while time.monotonic() < until:
            if pauses().since(begun - LATELY_SECONDS if lost else begun):
                return True
            time.sleep(0.02)
        before, self._held_up = self._held_up, behind.held_up()
        return self._held_up > before

    def once(
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


def undisturbed(client: Client, do: Callable[[], T]) -> T:
    """What `do` gives when none of its requests was sent again: for exact counts. It must be able to run anew."""
    for _ in range(TRIES):
        again = client.again
        found = do()
        if client.again == again:
            break
    return found
