"""A sandbox and scripted upstreams on loopback, driven from plain test functions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sandbox.app import Sandbox

PLUGINS = Path(__file__).parent / "plugins"
BASE = {
    "KONG_PLUGINS": "bundled,probe",
    "KONG_LUA_PACKAGE_PATH": f"{PLUGINS}/?.lua;;",
    "KONG_PROXY_LISTEN": "127.0.0.1:0",
    "KONG_ADMIN_LISTEN": "127.0.0.1:0",
}


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def parse(data: bytes) -> Answer:
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
    if ("transfer-encoding", "chunked") in [(n.lower(), v) for n, v in headers]:
        parts, rest = [], body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            parts.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        body = b"".join(parts)
    return Answer(int(lines[0].split(" ")[1]), headers, body)


def raw(port: int, data: bytes, timeout: float = 30.0) -> bytes:
    """All bytes that come back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(data)
        parts = []
        with contextlib.suppress(ConnectionResetError):
            while part := s.recv(65536):
                parts.append(part)
        return b"".join(parts)


def send(
    port: int, method: str, path: str, headers: dict[str, str] | list[tuple[str, str]] = (), body: bytes = b""
) -> Answer:
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs.insert(0, ("Host", "h.example"))
    if body:
        pairs.append(("Content-Length", str(len(body))))
    text = f"{method} {path} HTTP/1.1\r\nConnection: close\r\n" + "".join(f"{n}: {v}\r\n" for n, v in pairs)
    return parse(raw(port, text.encode("latin-1") + b"\r\n" + body))


class Upstream:
    """Echoes what it got as JSON; `script` may answer instead, given the raw request and the writer."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.connections = 0
        self.script: Callable[[bytes, asyncio.StreamWriter], bytes | None] = lambda head, writer: b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(v) for n, v in self._headers(head) if n.lower() == "content-length"), 0)
                body = await reader.readexactly(length)
                self.seen.append(head + body)
                answer = self.script(head, writer)
                if answer is None:
                    continue
                if not answer:
                    line = head.decode("latin-1").split("\r\n")[0]
                    echo = {"line": line, "headers": self._headers(head), "body": body.decode("latin-1")}
                    data = json.dumps(echo).encode()
                    answer = b"HTTP/1.1 200 Fine\r\nX-Up: 1\r\nContent-Length: %d\r\n\r\n" % len(data)
                    answer += b"" if head.startswith(b"HEAD") else data
                writer.write(answer)
                await writer.drain()

    @staticmethod
    def _headers(head: bytes) -> list[tuple[str, str]]:
        lines = head.decode("latin-1").split("\r\n")[1:-2]
        return [(n, v.strip()) for n, _, v in (line.partition(":") for line in lines)]


class Box:
    """Owns an event loop in a thread, with one sandbox and any number of upstreams on it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.sandbox: Sandbox | None = None
        self.servers: list[Any] = []
        self.proxy = self.admin = 0

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(50)

    def start(self, **settings: str) -> Box:
        async def start() -> None:
            self.sandbox = Sandbox({**BASE, **settings})
            await self.sandbox.start()

        self.call(start())
        assert self.sandbox
        self.proxy = int(self.sandbox.proxy_url.rpartition(":")[2])
        self.admin = int(self.sandbox.admin_url.rpartition(":")[2])
        return self

    def upstream(self) -> tuple[Upstream, int]:
        up = Upstream()

        async def start() -> int:
            server = await asyncio.start_server(up.serve, "127.0.0.1", 0)
            self.servers.append(server)
            return int(server.sockets[0].getsockname()[1])

        return up, self.call(start())

    def serve_unix(self, handler: Any, path: Path) -> None:
        async def start() -> None:
            self.servers.append(await asyncio.start_unix_server(handler, str(path)))

        self.call(start())

    def post(self, config: dict[str, Any] | str, query: str = "", kind: str = "text/yaml") -> Answer:
        text = config if isinstance(config, str) else json.dumps({"_format_version": "3.0", **config})
        return send(self.admin, "POST", "/config" + query, {"Content-Type": kind}, text.encode())

    def load(self, **config: Any) -> Answer:
        answer = self.post(config)
        assert answer.status == 201, answer.body
        return answer

    def get(
        self, path: str, headers: dict[str, str] | list[tuple[str, str]] = (), method: str = "GET"
    ) -> Answer:
        return send(self.proxy, method, path, headers)

    def stop(self) -> None:
        async def stop() -> None:
            if self.sandbox:
                await self.sandbox.stop()
            for server in self.servers:
                server.close()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0.01)  # closed transports end in the next turns of the loop

        self.call(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


@pytest.fixture
def box() -> Iterator[Box]:
    b = Box()
    yield b
    b.stop()


@pytest.fixture
def kong(box: Box) -> Box:
    """A started sandbox with the probe plugin."""
    return box.start()


def service(
    port: int, plugin: dict[str, Any] | None = None, path: str = "/r", **fields: Any
) -> dict[str, Any]:
    """One service with one route named r, and maybe the probe plugin on it."""
    route: dict[str, Any] = {"name": "r", "paths": [path]}
    if plugin is not None:
        route["plugins"] = [{"name": "probe", "config": plugin}]
    return {"name": "s", "url": f"http://127.0.0.1:{port}/base", "routes": [route], **fields}


@pytest.fixture
def make_service() -> Callable[..., dict[str, Any]]:
    return service


@pytest.fixture
def raw_send() -> Callable[..., bytes]:
    return raw


@pytest.fixture
def http() -> Callable[..., Answer]:
    return send
