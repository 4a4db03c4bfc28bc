"""One worker process: serves connections that the supervisor hands it. Keeps no per-request state.

Started by the supervisor as `python -m kong_plugins.server.worker`, so a reload runs new code.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from kong_plugins.identity.trust_config import build_trust
from kong_plugins.kong_env import DIRECT
from kong_plugins.server import logs
from kong_plugins.server.asks import Asker
from kong_plugins.server.channel import CONNECTION, IMAGE, Channel
from kong_plugins.server.config import ServerConfig, load
from kong_plugins.server.deadline import Deadline
from kong_plugins.server.decider import ConfigError, Decider
from kong_plugins.server.direct_lane import DirectLane
from kong_plugins.server.express_lane import ExpressLane, ExpressProtocol
from kong_plugins.server.frames import Connections, FrameProtocol
from kong_plugins.server.leases import Leases
from kong_plugins.server.mirror import Mirror
from kong_plugins.server.pdk_lane import PdkLane, PdkProtocol
from kong_plugins.server.run_dir import EXPRESS
from kong_plugins.server.settling import settle
from kong_plugins.server.stall import LIMIT_SECONDS, TICK_SECONDS, waiting
from kong_plugins.server.tracing import make_tracer
from kong_plugins.server.waits import Waits
from kong_plugins.state.cells import Cells

log = logging.getLogger("kgate.worker")

DRAIN_SECONDS = 2.0
"""A connection that is busy for longer is closed when the worker ends."""
STATS_SECONDS = 0.5
KEYS_SECONDS = 0.5
"""How long a new worker waits for issuers' first keys before it serves: without them it would refuse good tokens."""


class Worker:
    """Serves both lanes in this process until the supervisor ends it."""

    def __init__(
        self,
        config: ServerConfig,
        run_dir: Path,
        channel: socket.socket,
        deadline: float,
        cells: Cells,
        inline_issuers: bool = False,
        lease: bool = True,
    ) -> None:
        self._config = config
        self._lease = lease
        self._run_dir = run_dir
        self._inline_issuers = inline_issuers
        self._channel_socket = channel
        self._deadline = Deadline(deadline)
        self.decider = Decider(time.time, self._deadline, learned=self._learned)
        self._express = ExpressLane(self.decider, self._take_outcomes)
        self._pdk = PdkLane(self.decider, self._announce)
        self._direct = DirectLane(self.decider, self._announce)
        self._connections = Connections(time.monotonic, self._lost)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._adopting = 0
        self._cells = cells
        self._ready = False

    def run(self) -> None:
        """Serve; returns when the supervisor has told to stop, or is gone."""
        trust = self._trust = build_trust(
            self._config.trust, self._config.base_dir, self._run_dir, self._inline_issuers
        )
        decider = self.decider
        self._leases = Leases(decider.lease, decider.still, trust.stamp, self._later) if self._lease else None
        changed = self._leases.change if self._leases is not None else (lambda: None)
        self._mirror = Mirror(decider, trust, self._cells, self._later, changed)
        trust.start()
        try:
            uvloop.run(self._serve())
        finally:
            trust.stop()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor gets them and tells us
        self._channel = Channel(self._channel_socket, self._handle, self._stopped.set)
        self._deadline.install()
        if self._config.redis.url is not None:
            self.decider.asker = Asker(self._config.redis, lambda: self._cells.now() / 1e9)
        self.decider.waits = Waits(self._trust)
        self.decider.tracer = make_tracer(os.environ)
        tasks = [loop.create_task(self._tick()), loop.create_task(self._tell())]
        await self._stopped.wait()
        self._deadline.uninstall()
        for task in tasks:
            task.cancel()
        await self._finish()
        if self.decider.asker is not None:
            await self.decider.asker.close()
        if self.decider.tracer is not None:
            await loop.run_in_executor(None, self.decider.tracer.close)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, call)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._connections.stall.tick()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(STATS_SECONDS)
            self._report()

    def _report(self) -> None:
        """Tell the supervisor how it is here, and what was counted since the last time."""
        if self._mirror.snapshot is not None:
            self._trust.follow(self._mirror.snapshot)  # without requests nobody else would
        asker = self.decider.asker
        self._channel.send(
            "stats",
            {
                **self.decider.tally.report(),
                "stalls": self._connections.stall.count,
                "unanswered": 0 if asker is None else asker.take_unanswered(),
                "state": self.decider.state is not None,
                **self._mirror.report(),
                "without_keys": list(self._trust.missing_keys()),
                "trust": self._trust.report(time.time()),
            },
        )
        self._connections.stall.count = 0

    def _go(self, empty: bool) -> None:
        """The supervisor has sent what there is: this worker may serve."""
        if empty:
            self._mirror.empty()
        if self._ready:
            return
        self._ready = True
        if self._mirror.snapshot is None:
            log.warning("there is no control state: protected routes are closed until it is read once")
        self._start(self._open())

    async def _open(self) -> None:
        until = time.monotonic() + KEYS_SECONDS
        while self._trust.missing_keys() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        settle()
        self._report()
        self._channel.send("ready", os.getpid())

    def _lost(self, lane: str) -> None:
        self._channel.send("closed", lane)

    async def _finish(self) -> None:
        """Answer what is under way, close the rest."""
        until = time.monotonic() + DRAIN_SECONDS
        while any(each.waiting or each.owed for each in self._connections.live) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        self._connections.close()
        await asyncio.sleep(0)

    # messages of the supervisor

    def _handle(self, message: list[Any], fd: int | None) -> None:
        kind = message[0]
        if kind == CONNECTION:
            self._take(message[1], message[2], fd)
        elif kind == "config":
            self._register(message[1], message[2])
            if message[3]:
                self._channel.send("known", message[3])
        elif kind == "announced":
            done = self._pending.pop(message[1], None)
            if done is not None:
                done()
        elif kind == "delta":
            self._mirror.delta(message[1])
        elif kind == IMAGE:
            self._mirror.image(message[2], fd, *message[3:])  # a supervisor of before sends no more
        elif kind == "go":
            self._go(message[1])
        elif kind == "ping":
            self._channel.send("pong")
        elif kind == "drain":
            self._start(self._drain())
        elif kind == "stop":
            self._stopped.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself keeps no strong reference
        task.add_done_callback(self._tasks.discard)

    def _take(self, lane: str, since: float, fd: int | None) -> None:
        if fd is None:
            log.error("no file descriptor for a connection of %s: closed; raise the limit (ulimit -n)", lane)
        elif lane != EXPRESS and time.monotonic() - since > LIMIT_SECONDS and waiting([fd]):
            os.close(fd)  # what it waits for may be too old, as on our own connections
        else:
            self._start(self._adopt(lane, socket.socket(fileno=fd)))
            return
        self._channel.send("closed", lane)

    async def _adopt(self, lane: str, sock: socket.socket) -> None:
        def make() -> FrameProtocol:
            if lane == EXPRESS:
                return ExpressProtocol(self._express, lane, self._connections, self._leases)
            calls = self._direct if lane.endswith(DIRECT) else self._pdk
            return PdkProtocol(calls, lane, self._connections)

        sock.setblocking(False)
        self._adopting += 1
        try:
            await asyncio.get_running_loop().connect_accepted_socket(make, sock)
        except OSError as error:
            log.error("a connection of %s cannot be served: %s", lane, error)
            sock.close()
            self._channel.send("closed", lane)
        finally:
            self._adopting -= 1

    def _register(self, plugin: str, text: str) -> None:
        try:
            self.decider.register_any(plugin, text)
        except ConfigError as error:
            # another worker took it a moment ago: a reload with other code
            log.error("config refused: %s", error)

    def _announce(self, plugin: str, text: str, done: Callable[[], None]) -> None:
        """Have the supervisor tell all workers of a config; `done` is called when they know it."""
        self._number += 1
        self._pending[self._number] = done
        self._channel.send("announce", self._number, plugin, text)

    def _learned(self, plugin: str, text: str) -> None:
        self._channel.send("learned", plugin, text)  # for the analysis

    def _take_outcomes(self, *batch: Any) -> None:
        # a batch that is sent again may reach another worker: the supervisor knows which are double
        self._channel.send("outcomes", *batch)

    async def _drain(self) -> None:
        """Give all connections back: a worker of the next generation goes on with them."""
        until = time.monotonic() + DRAIN_SECONDS
        while (self._connections.live or self._adopting) and time.monotonic() < until:
            for connection in list(self._connections.live):
                try:
                    fd = connection.hand_over()
                except OSError as error:
                    log.error("a connection cannot be handed over: %s", error.strerror)
                    fd = None
                if fd is not None:
                    self._channel.send(CONNECTION, connection.lane, time.monotonic(), fd=fd)
            await asyncio.sleep(0.005)
        self._channel.send("drained")


def main() -> None:
    """The worker's own process: arguments from the supervisor, one channel as file descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--cells-fd", type=int, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--log-format", required=True)
    parser.add_argument("--allow-inline-issuers", action="store_true")
    parser.add_argument("--no-leases", action="store_true")
    args = parser.parse_args()
    logs.configure(args.log_level, args.log_format)
    channel = socket.socket(fileno=args.channel_fd)
    config = load(args.config, os.environ)
    cells = Cells.attach(args.cells_fd)
    cells.use_own_clock()
    inline, lease = args.allow_inline_issuers, not args.no_leases
    Worker(config, args.run_dir, channel, args.deadline, cells, inline, lease).run()


if __name__ == "__main__":
    main()
