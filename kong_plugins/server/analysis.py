"""The analysis: one process per node that draws conclusions from the outcomes of all workers.

Started by the supervisor as `python -m kong_plugins.server.analysis`, with or without Redis. It gets each batch
of outcomes once, the configs that Kong has started, and the control state; it runs the analysts (analysts.py),
writes what they conclude into the control state (concluding.py), and tells the other nodes (telling.py). Nobody
waits for it: while it is away no breaker opens, nobody new is blocked, and what is there ends in its time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kong_plugins.engine.analyst import Analyst, Conclusion
from kong_plugins.engine.registry import parse_config
from kong_plugins.server import logs
from kong_plugins.server.analysts import build_analysts
from kong_plugins.server.bounded import Bounded
from kong_plugins.server.channel import IMAGE, Channel
from kong_plugins.server.columns import read_batch
from kong_plugins.server.concluding import Concluder
from kong_plugins.server.config import RedisConfig, load
from kong_plugins.server.telling import Telling
from kong_plugins.state.cells import Cells
from kong_plugins.state.connection import connect
from kong_plugins.state.deltas import apply_all, delta_of, with_local
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.open import open_store
from kong_plugins.state.snapshot import Snapshot, empty_snapshot, snapshot_of

log = logging.getLogger("kgate.analysis")

TICK_SECONDS = 0.1
LEVEL_SECONDS = 0.5
FLUSH_SECONDS = 0.5
MAX_CONFIGS = 20_000


class Analysts:
    """The analysts of a node, driven with injected time. conclude: gets every conclusion.

    An analyst that fails is told of in the log, and goes on with the next message: it must not end the others.
    """

    def __init__(self, analysts: Mapping[str, Analyst], conclude: Callable[[Conclusion], None]) -> None:
        self._analysts, self._conclude = dict(analysts), conclude
        self._configs = Bounded(MAX_CONFIGS)
        self._stale: set[str] = set()
        self.failures = 0

    def config(self, plugin: str, text: str) -> None:
        """A config that Kong has started."""
        if plugin not in self._analysts or self._configs.get((plugin, text)) is not None:
            return
        try:
            parsed = parse_config(plugin, json.loads(text))
        except ValueError as error:
            log.error("a config of %s cannot be used: %s", plugin, error)
            return
        self._configs.put((plugin, text), (plugin, parsed))
        self._stale.add(plugin)

    def outcomes(self, packed: bytes, now: float) -> None:
        """A packed batch. The supervisor has told of one that cannot be read."""
        self._configure()
        try:
            batch = read_batch(packed)
        except ValueError:
            return
        kinds = list(enumerate(batch.samples()))
        wanted = {
            name: {place for place, kind in kinds if self._guarded(name, analyst.concerned, kind)}
            for name, analyst in self._analysts.items()
        }
        rows = batch.placed(set().union(*wanted.values()))
        for name, analyst in self._analysts.items():
            mine = wanted[name]
            taken = [row for place, row in rows if place in mine]
            if taken:
                self._draw(self._guarded(name, analyst.take, taken, now))

    def tick(self, now: float) -> dict[str, Mapping[str, Any]]:
        """Called about ten times a second; returns what to tell the other nodes."""
        self._configure()
        self._each(lambda analyst: analyst.tick(now))
        told: dict[str, Mapping[str, Any]] = {}
        for name, analyst in self._analysts.items():
            found = self._guarded(name, analyst.tell, now)
            if found is not None:
                told[name] = found
        return told

    def merge(self, node: str, name: str, told: Mapping[str, Any], now: float) -> None:
        """What another node's analyst told."""
        analyst = self._analysts.get(name)
        if analyst is not None:
            self._configure()
            self._draw(self._guarded(name, analyst.merge, node, told, now))

    def see(self, snapshot: Snapshot, now: float) -> None:
        """A new control state, for the analysts that look at it (`see(snapshot, now)`)."""
        for name, analyst in self._analysts.items():
            see = getattr(analyst, "see", None)
            if see is not None:
                self._draw(self._guarded(name, see, snapshot, now))

    def levels(self) -> dict[str, dict[str, float]]:
        """Gauges of the analysts that have some (`levels()`), by analyst."""
        found = {name: getattr(analyst, "levels", None) for name, analyst in self._analysts.items()}
        return {
            name: self._guarded(name, levels) or {} for name, levels in found.items() if levels is not None
        }

    def keep(self) -> dict[str, Any]:
        """What the process that takes over goes on with, by analyst (`keep()`)."""
        found = {name: getattr(analyst, "keep", None) for name, analyst in self._analysts.items()}
        return {name: self._guarded(name, keep) for name, keep in found.items() if keep is not None}

    def resume(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on where the process before this one stood."""
        self._configure()
        for name, what in kept.items():
            resume = getattr(self._analysts.get(name), "resume", None)
            if resume is not None and what is not None:
                self._guarded(name, resume, what, now)

    def _configure(self) -> None:
        for plugin in self._stale:
            configs = [config for name, config in self._configs.values() if name == plugin]
            self._guarded(plugin, self._analysts[plugin].configure, configs)
        self._stale.clear()

    def _each(self, call: Callable[[Analyst], Sequence[Conclusion]]) -> None:
        for name, analyst in self._analysts.items():
            self._draw(self._guarded(name, call, analyst))

    def _draw(self, found: Sequence[Conclusion] | None) -> None:
        for conclusion in found or ():
            self._conclude(conclusion)

    def _guarded(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except Exception:
            self.failures += 1
            if self.failures < 100:
                log.exception("the analyst of %s failed", name)
            return None


class Analysis:
    """The process: serves the supervisor until it says stop, or is gone."""

    def __init__(self, redis: RedisConfig, channel: socket.socket, cells: Cells, node: str) -> None:
        self._redis, self._channel_socket, self._node = redis, channel, node
        store = None if redis.url is None else open_store(redis.url, redis.namespace, redis.ca_file)
        self._concluder = Concluder(store, node, self._tell_local, written=self._tell_written)
        self._analysts = Analysts(build_analysts(cells), self._concluder.add)
        self._telling: Telling | None = None
        self._snapshot: Snapshot = empty_snapshot()

    async def run(self) -> None:
        """Serve."""
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor gets them and tells us
        self._channel = Channel(self._channel_socket, self._handle, self._stopped.set)
        self._concluder.start()
        if self._redis.url is not None:
            self._telling = Telling(
                self._connect, self._redis.namespace, f"{self._node}/{os.getpid()}", self._heard
            )
            self._telling.start()
        self._channel.send("hello")
        task = self._loop.create_task(self._tick())
        await self._stopped.wait()
        task.cancel()
        until = time.monotonic() + FLUSH_SECONDS
        while not self._channel.is_idle and time.monotonic() < until:
            await asyncio.sleep(0.002)  # what was counted is on its way to the supervisor

    def _connect(self) -> Any:
        assert self._redis.url is not None
        return connect(self._redis.url, self._redis.ca_file, decode_responses=False)

    def _handle(self, message: list[Any], fd: int | None) -> None:
        kind = message[0]
        if kind == "outcomes":
            self._analysts.outcomes(message[1], time.time())
        elif kind == "config":
            self._analysts.config(message[1], message[2])
        elif kind == IMAGE:
            self._image(message[2], fd, *message[3:])  # a supervisor of before sends no more
        elif kind == "delta":
            self._delta(message[1])
        elif kind == "kept":
            self._analysts.resume(message[1], time.time())
        elif kind == "before":
            # the process before this one has died; a neighbour's word is taken over in the same way
            for name, told in message[1].items():
                self._analysts.merge(f"{self._node}/before", name, told, time.time() - message[2])
        elif kind == "ping":
            self._channel.send("pong")
        elif kind == "stop":
            self._channel.send("kept", self._analysts.keep())
            self._stopped.set()

    def _image(self, wire: list[Any], fd: int | None, local: Sequence[Any] = ()) -> None:
        if fd is None:
            return
        try:
            snapshot = apply_all(snapshot_of(Image.open(fd)), [delta_of(each) for each in wire])
            snapshot = with_local(snapshot, [delta_of(each) for each in local])
        except (StateFileError, ValueError) as error:
            log.error("an image of the control state cannot be used: %s", error)
            return
        finally:
            os.close(fd)
        self._see(snapshot)

    def _delta(self, wire: Any) -> None:
        try:
            snapshot = delta_of(wire).applied_to(self._snapshot)
        except ValueError as error:
            log.error("a change of the control state cannot be used: %s", error)
            return
        self._see(snapshot)

    def _see(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._analysts.see(snapshot, time.time())

    def _heard(self, node: str, name: str, told: Mapping[str, Any]) -> None:
        """From the thread that hears."""
        self._loop.call_soon_threadsafe(lambda: self._analysts.merge(node, name, told, time.time()))

    def _tell_local(self, packed: bytes) -> None:
        """From the thread that writes."""
        self._loop.call_soon_threadsafe(lambda: self._channel.send("local", packed))

    def _tell_written(self, collection: str, key: str) -> None:
        """From the thread that writes."""
        self._loop.call_soon_threadsafe(lambda: self._channel.send("written", collection, key))

    async def _tick(self) -> None:
        levels_at = 0.0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            told = self._analysts.tick(time.time())
            if told:
                self._channel.send("told", told)
                if self._telling is not None:
                    self._telling.tell(told)
            now = time.monotonic()
            if now - levels_at >= LEVEL_SECONDS:
                levels_at = now
                levels = {**self._analysts.levels(), "conclusions": dict(self._concluder.counts)}
                self._channel.send("levels", levels)


def main() -> None:
    """The analysis' own process: arguments from the supervisor, one channel as file descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--cells-fd", type=int, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--log-format", required=True)
    args = parser.parse_args()
    logs.configure(args.log_level, args.log_format)
    channel = socket.socket(fileno=args.channel_fd)
    config = load(args.config, os.environ)
    cells = Cells.attach(args.cells_fd)
    asyncio.run(Analysis(config.redis, channel, cells, socket.gethostname()).run())
    # threads may be waiting for Redis: nothing of theirs needs an end
    os._exit(0)


if __name__ == "__main__":
    main()
