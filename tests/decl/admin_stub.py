"""A DB-less Admin API on a loopback port, as far as pushes need it, that can be told to misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import yaml

from tests.decl.counted import CountedServer

EMPTY = "0" * 32


class Seen(NamedTuple):
    """One request that the stub got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer in place of the real thing; `store` keeps the config all the same."""

    status: int
    body: object = ""
    headers: tuple[tuple[str, str], ...] = ()
    store: bool = False
    delay: float = 0.0


def hash_of(body: bytes) -> str:
    """As Kong: the md5 of the bytes, zeros for a config without entities."""
    with contextlib.suppress(ValueError):
        config = json.loads(body)
        if isinstance(config, dict) and not any(
            isinstance(items, list) and items for items in config.values()
        ):
            return EMPTY
    return hashlib.md5(body).hexdigest()


class AdminStub:
    """`on_post` and `on_status` may give an Answer for a request; None is the real behaviour. `settled` returns when
    what came from clients that are gone has been handled."""

    def __init__(self) -> None:
        self.hash = EMPTY
        self.config: dict[str, Any] | None = None
        """What it tells of its entities, where it tells anything."""
        self.seen: list[Seen] = []
        self.on_post: Callable[[Seen], Answer | None] = lambda _: None
        self.on_status: Callable[[Seen], Answer | None] = lambda _: None
        self.url = ""
        self.settled: Callable[[], None] = lambda: None

    @property
    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == "POST"]

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        if seen.path == "/status":
            return self.on_status(seen) or Answer(200, {"configuration_hash": self.hash})
        if seen.method == "GET" and self.config is not None:
            if seen.path.startswith("/plugins"):
                return Answer(200, {"data": self.config.get("plugins", [])})
            if seen.path == "/config":
                return Answer(200, {"config": yaml.safe_dump(self.config)})
        if not seen.path.startswith("/config") or seen.method != "POST":
            return Answer(404, {"message": "Not found"})
        found = hash_of(seen.body)
        answer = self.on_post(seen)
        if answer is None or answer.store:
            unchanged = found == self.hash
            self.hash = found
            answer = answer or Answer(304 if unchanged else 201, "" if unchanged else {"services": {}})
        return answer


def _handler(stub: AdminStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are written apart: Nagle would hold the body for 40 ms

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = self.rfile.read(length)
            if len(sent) < length:  # its client was killed on the way
                self.close_connection = True
                return
            answer = stub.answer(Seen(self.command, self.path, headers, sent))
            time.sleep(answer.delay)
            body: Any = answer.body
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def handle(self) -> None:
            # a client that was killed, or whose certificate is refused
            with contextlib.suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
                super().handle()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def admin_stub(tls: ssl.SSLContext | None = None) -> Iterator[AdminStub]:
    """A running stub; with a TLS context it is https://localhost."""
    stub = AdminStub()
    server = CountedServer(("127.0.0.1", 0), _handler(stub))
    stub.settled = server.settled
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        stub.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
