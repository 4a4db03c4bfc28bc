"""One process of the plugin server: sockets, event loop, control state. `kgate serve` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import uvloop

from kong_plugins.engine.plugin import plugin_info_json
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.identity.trust import build_trust
from kong_plugins.kong_env import express_socket, plugin_info_file, plugin_socket
from kong_plugins.server.config import ServerConfig
from kong_plugins.server.decider import Decider
from kong_plugins.server.express_lane import ExpressLane, ExpressProtocol
from kong_plugins.server.frames import FrameProtocol
from kong_plugins.server.outcomes import Outcomes
from kong_plugins.server.pdk_lane import PdkLane, PdkProtocol
from kong_plugins.state.base import Snapshot, State
from kong_plugins.state.follower import Follower
from kong_plugins.state.open import open_store

log = logging.getLogger("kgate.server")

ServedLanes = Literal["pdk", "express", "both"]
DIR_MODE, SOCKET_MODE = 0o750, 0o660
BACKLOG = 1024


class RunDirError(Exception):
    """The run dir or a socket in it cannot be used."""


def write_plugin_info(run_dir: Path) -> list[Path]:
    """Write what Kong's query commands print, one file a plugin. Raises RunDirError."""
    written = []
    try:
        run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        for name in PLUGINS:
            path = plugin_info_file(run_dir, name)
            replace_file(path, plugin_info_json(name))
            written.append(path)
    except OSError as error:
        raise RunDirError(f"{run_dir}: {error.strerror or error}") from error
    return written


def replace_file(path: Path, text: str) -> None:
    """Write aside and rename: a reader sees the old file or the new one, whole."""
    aside = path.with_suffix(".tmp")
    aside.write_text(text, encoding="utf-8")
    aside.rename(path)


def listen(path: Path) -> socket.socket:
    """A listening unix socket at `path`, taking the place of a dead server's. Raises RunDirError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            if _answers(path):
                raise RunDirError(f"{path}: another plugin server listens there; stop it first")
            path.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(SOCKET_MODE)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise RunDirError(f"{path}: {error.strerror or error}") from error
    except RunDirError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def open_sockets(run_dir: Path, lanes: ServedLanes) -> dict[str, socket.socket]:
    """The listening sockets by plugin name, and "express" (always: it also serves the pdk lane's
    prepared answers and outcomes). Raises RunDirError."""
    run_dir.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
    sockets: dict[str, socket.socket] = {}
    try:
        sockets["express"] = listen(express_socket(run_dir))
        if lanes != "express":
            for name in PLUGINS:
                sockets[name] = listen(plugin_socket(run_dir, name))
    except RunDirError:
        close_sockets(sockets, run_dir)
        raise
    return sockets


def close_sockets(sockets: dict[str, socket.socket], run_dir: Path) -> None:
    """Close the sockets and remove their files."""
    for name, sock in sockets.items():
        sock.close()
        path = express_socket(run_dir) if name == "express" else plugin_socket(run_dir, name)
        with contextlib.suppress(OSError):
            path.unlink()


class Worker:
    """Serves both lanes in this process until it is told to stop."""

    def __init__(self, config: ServerConfig, run_dir: Path, sockets: dict[str, socket.socket]) -> None:
        self._config = config
        self._run_dir = run_dir
        self._sockets = sockets
        self.decider = Decider(time.time)
        self.outcomes = Outcomes()
        self._connections: set[FrameProtocol] = set()

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called when requests are answered."""
        trust = build_trust(self._config.trust, self._config.base_dir, self._run_dir)
        redis = self._config.redis
        store = open_store(redis.url, redis.namespace)

        def on_snapshot(snapshot: Snapshot) -> None:
            # one assignment: a decision sees the old state or the new one, whole
            self.decider.state = State(snapshot, trust)

        follower = Follower(store, on_snapshot, poll_seconds=redis.poll_seconds)
        trust.start()
        try:
            if not follower.start():
                log.warning("control state is away: protected routes are closed until it is read once")
            uvloop.run(self._serve(ready))
        finally:
            follower.stop()
            trust.stop()
            store.close()

    async def _serve(self, ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        express, pdk = ExpressLane(self.decider, self.outcomes), PdkLane(self.decider)
        servers = []
        for name, sock in self._sockets.items():
            if name == "express":
                factory: Callable[[], FrameProtocol] = lambda: ExpressProtocol(express, self._connections)  # noqa: E731
            else:
                factory = lambda: PdkProtocol(pdk, self._connections)  # noqa: E731
            servers.append(await loop.create_unix_server(factory, sock=sock))
        ready()
        await stop.wait()
        for server in servers:
            server.close()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()
