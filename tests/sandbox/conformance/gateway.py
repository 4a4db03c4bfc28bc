"""What the cases run against: a sandbox in this process, or a Kong that runs already."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.sandbox.conformance.plugin_server import BUFFERED, NAME, PluginServer
from tests.sandbox.conformance.settings import gateway_settings

_LISTEN = {"KONG_PROXY_LISTEN": "127.0.0.1:0", "KONG_ADMIN_LISTEN": "127.0.0.1:0"}


class Answer(NamedTuple):
    """Status, headers with names in lower case (repeated ones joined), body, seconds."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Gateway:
    """Two URLs, and the plugin servers beside them. mode: dbless or db."""

    def __init__(self, mode: str, folder: Path, admin: str | None = None, proxy: str | None = None) -> None:
        self.mode, self.folder, self.real = mode, folder, admin is not None
        self.admin, self.proxy = admin or "", proxy or ""
        self.servers: dict[str, PluginServer] = {}
        self._posted = ""
        if not self.real:
            self._start_sandbox()

    def _start_sandbox(self) -> None:
        from sandbox.app import Sandbox

        database = {"KONG_DATABASE": "postgres"} if self.mode == "db" else {}
        control = {"KONG_ROLE": "control_plane"} if self.mode == "hybrid" else {}
        if control:
            database = {"KONG_DATABASE": "postgres", "KONG_SANDBOX_DATA_PLANE_DELAY": "300ms"}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def start() -> None:
            self._sandbox = Sandbox({**gateway_settings(self.folder), **_LISTEN, **database, **control})
            await self._sandbox.start()

        self._call(start())
        self.admin, self.proxy = self._sandbox.admin_url, self._sandbox.proxy_url

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(50)

    def start_plugin_servers(self) -> None:
        """The servers must be there before the first request of a configuration that names them."""
        for name in (NAME, BUFFERED):
            if name not in self.servers:
                self.servers[name] = PluginServer(self.folder, name)

    def stop_plugin_servers(self) -> None:
        for server in self.servers.values():
            server.close()
        self.servers = {}

    def configure(self, config: Any) -> Answer:
        """POST /config and wait until the proxy has it."""
        text = json.dumps({"_format_version": "3.0", **(config or {})})
        if text == self._posted and not re.search('"(conf-r|upstreams)', text):
            return Answer(201, {}, b"", 0)  # what it has, and nothing in it that remembers
        answer = self.send("admin", "POST", "/config", [("Content-Type", "text/yaml")], text.encode())
        self._posted = text if answer.status == 201 else ""
        if answer.status == 201 and self.real:
            time.sleep(0.2)  # Kong follows within some 12 ms where the machine is idle
        return answer

    def send(
        self, to: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes | None = None
    ) -> Answer:
        """One request on a connection of its own, bytes as they are given."""
        if to == "admin" and path.startswith("/config") and method == "POST" and "check_hash" not in path:
            self._posted = self._posted if body and body.decode() == self._posted else ""
        pairs = list(headers)
        names = {name.lower() for name, _ in pairs}
        if "host" not in names:
            pairs.insert(0, ("Host", self.address(to)))
        if body is not None and not names & {"content-length", "transfer-encoding"}:
            pairs.append(("Content-Length", str(len(body))))
        if "connection" not in names:
            pairs.append(("Connection", "close"))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs), "", ""]
        return self.raw(to, "\r\n".join(lines).encode("latin-1") + (body or b""), method)

    def raw(self, to: str, data: bytes, method: str = "GET") -> Answer:
        """The first answer to these bytes; status 0 when the connection ends without one."""
        started = time.monotonic()
        with self.connect(to) as connection:
            connection.sendall(data)
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
                found: dict[str, str] = {}
                for name, value in response.getheaders():
                    key = name.lower()
                    found[key] = f"{found[key]}, {value}" if key in found else value
                body = _rest(response)
            except (http.client.HTTPException, ConnectionError):
                return Answer(0, {}, b"", time.monotonic() - started)
            finally:
                response.close()
        return Answer(response.status, found, body, time.monotonic() - started)

    def connect(self, to: str) -> socket.socket:
        host, _, port = self.address(to).rpartition(":")
        return socket.create_connection((host, int(port)), 30)

    def address(self, to: str) -> str:
        return urlsplit(self.admin if to == "admin" else self.proxy).netloc

    def close(self) -> None:
        self.stop_plugin_servers()
        if self.real:
            return

        async def stop() -> None:
            await self._sandbox.stop()
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0.01)  # closed transports end in the next turns of the loop

        self._call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


def _rest(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except http.client.IncompleteRead as e:
        return e.partial
