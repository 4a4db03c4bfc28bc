"""A Kong with a database (the sandbox's) on loopback, and a proxy before its Admin API that fails on demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from decl.flatten import Flat
from decl.http import Pool
from decl.kinds import KINDS
from sandbox.app import Sandbox
from sandbox.store import Store
from tests.decl.counted import CountedServer
from tests.kong_plugins.adapter.conftest import ADAPTER

SETTINGS = {
    "KONG_DATABASE": "postgres",
    "KONG_PLUGINS": "bundled,kgate,kgate-facts",
    "KONG_LUA_PACKAGE_PATH": f"{ADAPTER}/common/?.lua;;",
    "KONG_PROXY_LISTEN": "127.0.0.1:0",
    "KONG_ADMIN_LISTEN": "127.0.0.1:0",
}


class DbNode:
    """A running node. `store` is its database: set it to begin anew."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.admin, self.proxy = sandbox.admin_url, sandbox.proxy_url
        self.workers = 1

    @property
    def store(self) -> Store:
        assert self._sandbox.database is not None
        return self._sandbox.database.store

    @store.setter
    def store(self, store: Store) -> None:
        assert self._sandbox.database is not None
        self._sandbox.database.store = store

    def use(self) -> None:
        """Make the database the configuration in force at once."""
        self._sandbox.use(self.store)

    def settle(self) -> None:
        """All workers have what is in the database: there is one."""

    def clear(self) -> None:
        """Nothing is in the database, and nothing in force."""
        self.store = Store()
        self.use()

    def forget_lock(self) -> None:
        """As if the lease of a run that was killed had ended."""
        for lock in self.store.entities["upstreams"].values():
            if lock.get("name") == "kgate-lock":
                self.store = self.store.without("upstreams", lock["id"])
                return

    def state(self) -> Flat:
        """What the database holds, without times."""
        return {
            kind: {
                key: {
                    name: value for name, value in entity.items() if name not in ("created_at", "updated_at")
                }
                for key, entity in self.store.entities.get(kind, {}).items()
                if entity.get("name") != "kgate-lock"
            }
            for kind in KINDS
        }


@contextmanager
def db_node(**settings: str) -> Iterator[DbNode]:
    """A running node; its loop has a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox({**SETTINGS, **settings})
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(30)
        try:
            yield DbNode(sandbox)
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class FaultProxy:
    """Forwards to an Admin API. `fault(number, method, path)` may name a fault for a write (numbers from 1):

    refuse (400, not done), 500 (not done), reset (not done), hang (done, no answer), lost (done, reset), busy (429
    with Retry-After), gone (every request from now on is reset).
    """

    def __init__(self, target: str) -> None:
        self._pool = Pool(target)
        self.url = ""
        self.server: CountedServer | None = None
        self.begin()

    def begin(self, fault: Callable[[int, str, str], str | None] = lambda *_: None) -> None:
        """Count from 1 again, with this fault."""
        self.fault, self.writes, self.log, self.gone = fault, 0, list[str](), False
        self.reads: list[str] = []
        self.busy_until = 0.0
        self._mutex = threading.Lock()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(length) if length else None
        method, path, what = handler.command, handler.path, None
        if method == "GET":
            self.reads.append(path)
        else:
            with self._mutex:
                self.writes += 1
                self.log.append(f"{method} {path}")
                what = self.fault(self.writes, method, path)
        if what == "gone":
            self.gone = True
        if self.gone or what == "reset":
            handler.close_connection = True
            return
        if what in ("refuse", "500", "busy"):
            status = {"refuse": 400, "500": 500, "busy": 429}[what]
            self._send(handler, status, b'{"message":"a fault"}', {"Retry-After": "0"})
            return
        headers = {"Content-Type": handler.headers.get("Content-Type", "")} if body is not None else {}
        found = self._pool.request(method, path, body, headers)
        if what == "hang":
            time.sleep(0.6)
        if what in ("hang", "lost"):
            handler.close_connection = True
            return
        self._send(handler, found.status, found.body, {})

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        with contextlib.suppress(OSError):  # a client that was killed
            self._answer(handler, status, body, headers)

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self._pool.close()


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """A running proxy before the Admin API at `target`."""
    proxy = FaultProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            proxy.answer(self)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionResetError):  # a client that was killed
                super().handle()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def log_message(self, *_: object) -> None:
            pass

    server = proxy.server = CountedServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        proxy.close()


def plain(value: Any) -> Any:
    """A copy that nobody shares."""
    return json.loads(json.dumps(value))
