"""The supervisor: owns the sockets, hands each connection to the worker with the fewest, keeps workers alive, and
replaces them without losing a connection (reload.py).

It decides nothing about requests. The control state comes from the keeper (keeping.py) and goes on to the workers as
it is; the counters and limits that they share are memory which is made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

from kong_plugins.server.analysing import Analysing
from kong_plugins.server.broadcast import Broadcast
from kong_plugins.server.channel import CONNECTION, Channel
from kong_plugins.server.config import RedisConfig, ServerConfigError
from kong_plugins.server.handle import Handle
from kong_plugins.server.keeping import Keeping
from kong_plugins.server.listeners import Listeners
from kong_plugins.server.metrics import Metrics
from kong_plugins.server.options import Options, worker_command
from kong_plugins.server.outcomes import Outcomes
from kong_plugins.server.probes import Probes
from kong_plugins.server.reload import DRAIN_SECONDS, READY_SECONDS, gone, replace
from kong_plugins.server.run_dir import disk_full
from kong_plugins.state.cells import Cells

log = logging.getLogger("kgate.supervisor")

BEAT_SECONDS = 0.1
STUCK_SECONDS = 1.0
"""A worker whose event loop does not answer for so long is killed: C code cannot be stopped otherwise."""
SLOW_SECONDS = 0.5
"""A worker that did not answer for so long gets no new connections while others do."""
LAST_BACKOFF_SECONDS = 0.5  # a start takes as long: one that dies again and again is back in a second


class Supervisor:
    """Runs until SIGTERM or SIGINT. redis: where the control state is. validate: reads the config again before a
    reload and returns where the control state is then, raises ServerConfigError."""

    def __init__(
        self,
        options: Options,
        sockets: dict[str, socket.socket],
        redis: RedisConfig,
        validate: Callable[[], RedisConfig],
        ready: Callable[[], None],
    ) -> None:
        self._options = options
        self._lanes = tuple(sockets)
        self._redis = redis
        self._validate = validate
        self._on_ready: Callable[[], None] | None = ready
        self.metrics = Metrics()
        self.outcomes = Outcomes(self.metrics.outcomes, self.metrics.lost)
        self.workers: list[Handle] = []
        self.generation = 0
        self._broadcast = Broadcast()
        self._cells_fd = Cells.create()
        self._keeping = Keeping(options, self._cells_fd, self._followers, self.metrics.keeper_died)
        self._analysing = Analysing(
            options,
            self._cells_fd,
            self._keeping.feed,
            lambda packed: self._keeping.feed.local(packed, self._followers()),
            self.metrics.levels,
            self.metrics.analysis_died,
        )
        self._listeners = Listeners(sockets, options.allowed, self._hand_out, self.metrics.refused)
        self._missing_lists: set[str] = set()
        self._quick_deaths = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = self._reload_wanted = False
        self._stopping = False

    async def run(self) -> None:
        """Serve until a signal says to stop."""
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self.reload()))
        probes = Probes(self.metrics, self._serving, self._keeping.health, self._options.workers, self._lanes)
        if self._options.metrics is not None:
            await probes.server.start(*self._options.metrics)
        self._keeping.start(self._redis)
        self._analysing.start()
        self._fill()
        self._start(self._watch())
        await self._stopped.wait()
        self._stopping = True
        self._listeners.close()
        for worker in self.workers:
            worker.send("stop")
        await self._keeping.stop()
        await self._analysing.stop()
        await gone(list(self.workers), DRAIN_SECONDS)
        probes.server.close()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # workers

    def _followers(self) -> list[Handle]:
        """Who follows the control state."""
        return [*self.workers, *self._analysing.listeners]

    def spawn(self) -> Handle:
        """Start a worker of the current generation. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(
                    worker_command(self._options, theirs.fileno(), self._cells_fd),
                    pass_fds=[theirs.fileno(), self._cells_fd],
                    stdout=subprocess.DEVNULL,
                )
        except OSError:
            ours.close()
            raise
        worker = Handle(self.generation, process)
        worker.channel = Channel(
            ours, lambda message, fd: self._handle(worker, message, fd), lambda: self._lost(worker)
        )
        self.workers.append(worker)
        self._broadcast.greet(worker)
        self._keeping.feed.greet(worker)
        return worker

    def _fill(self) -> bool:
        """Start workers until there are as many as wanted; False when one could not be started."""
        while not self._stopping and not self._reloading:
            present = [w for w in self.workers if not w.leaving and w.generation == self.generation]
            if len(present) >= self._options.workers:
                return True
            try:
                self.spawn()
            except OSError as error:
                log.error("a worker cannot be started: %s; trying again", error.strerror)
                return False
        return True

    def _handle(self, worker: Handle, message: list[Any], fd: int | None) -> None:
        kind = message[0]
        worker.answered = time.monotonic()
        if kind == "closed":
            worker.connections[message[1]] -= 1
        elif kind == CONNECTION:
            worker.connections[message[1]] -= 1
            if fd is not None:
                self._hand_out(message[1], fd, message[2])
            else:
                log.error("no file descriptor for a connection of %s: closed", message[1])
        elif kind == "outcomes":
            if self.outcomes.take(*message[1:5]):
                self._analysing.outcomes(message[3])
                log.debug(
                    "outcomes of batch %s: %d bytes, %d dropped", message[1], len(message[3]), message[2]
                )
        elif kind == "announce":
            self._broadcast.announce(worker, self.workers, *message[1:4])
        elif kind == "learned":
            self._analysing.config(message[1], message[2])
        elif kind == "known":
            self._broadcast.known(worker, message[1])
        elif kind == "stats":
            worker.stats = message[1]
            self.metrics.worker(message[1])
            self.metrics.stood_still(message[1]["stalls"])
            self.metrics.cells(*message[1]["cells"])
            self.metrics.unanswered(message[1]["unanswered"])
            self._warn(message[1]["missing_lists"])
        elif kind == "ready":
            worker.ready = True
            log.info("worker %d is ready", worker.pid)
            self._listeners.accept(True)
            if self._on_ready is not None and self._all_ready():
                self._on_ready()
                self._on_ready = None
        elif kind == "drained":
            worker.send("stop")

    def _warn(self, missing: list[str]) -> None:
        for name in set(missing) - self._missing_lists:
            log.warning("list %s is named by a config but is not there: it counts as empty", name)
        self._missing_lists |= set(missing)

    def _serving(self) -> list[Handle]:
        return [worker for worker in self.workers if worker.ready and not worker.leaving]

    def _all_ready(self) -> bool:
        ready = [w for w in self.workers if w.ready and w.generation == self.generation]
        return len(ready) >= self._options.workers

    def _lost(self, worker: Handle) -> None:
        """The channel is closed: the worker has ended, or is ending."""
        worker.channel = None
        worker.ready = False
        self._broadcast.forget(worker)
        self._listeners.accept(any(w.ready for w in self.workers))
        self._start(self._bury(worker))

    async def _bury(self, worker: Handle) -> None:
        await gone([worker], 0.5)
        if worker in self.workers:
            self.workers.remove(worker)
        if worker.leaving or self._stopping:
            return
        log.error("worker %d has ended (%s)", worker.pid, worker.process.returncode)
        self.metrics.died()
        quick = time.monotonic() - worker.started < 5
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        if quick:
            await asyncio.sleep(min(LAST_BACKOFF_SECONDS, 0.05 * 2.0 ** min(self._quick_deaths - 1, 5)))
        while not self._fill():
            await asyncio.sleep(LAST_BACKOFF_SECONDS)

    async def _watch(self) -> None:
        """Ping the workers; kill the one that does not answer while this process does run."""
        last = time.monotonic()
        full = False
        while not self._stopping:
            await asyncio.sleep(BEAT_SECONDS)
            full, was_full = disk_full(self._options.run_dir), full
            if full and not was_full:
                log.error(
                    "%s: the disk is full: fetched keys are not saved, the rest goes on",
                    self._options.run_dir,
                )
            now = time.monotonic()
            stood_still = now - last > 3 * BEAT_SECONDS
            last = now
            for worker in self.workers:
                if stood_still:
                    worker.answered = now  # so did everybody, perhaps: begin to count anew
                limit = STUCK_SECONDS if worker.ready else READY_SECONDS
                if now - worker.answered > limit and worker.process.poll() is None:
                    log.error(
                        "worker %d does not answer for %.1f s: killed", worker.pid, now - worker.answered
                    )
                    worker.process.kill()
                worker.send("ping")
            self._keeping.watch(now, stood_still)
            self._analysing.watch(now, stood_still)

    async def reload(self) -> None:
        """Start a new generation of workers, give them the connections, end the old ones; once more where that was
        asked for meanwhile.

        A config that is not valid, or workers that do not start, change nothing.
        """
        self._reload_wanted = True
        if self._reloading:
            return
        self._reloading = True
        try:
            while self._reload_wanted and not self._stopping:
                self._reload_wanted = False
                await self._reload()
        finally:
            self._reloading = False
        while not self._fill():  # a worker may have died meanwhile
            await asyncio.sleep(LAST_BACKOFF_SECONDS)

    async def _reload(self) -> None:
        try:
            redis = self._validate()
        except (ServerConfigError, ValueError) as error:
            log.error("not reloaded: %s", error)
            return
        await self._keeping.restart(redis)
        await self._analysing.restart()
        await replace(self, self._options.workers)

    # connections

    def _hand_out(self, lane: str, fd: int, since: float | None = None) -> None:
        """Give a connection to a worker. since: monotonic seconds when somebody last looked at it, None: now."""
        serving = self._serving()
        free = [w for w in serving if w.generation == self.generation] or serving
        now = time.monotonic()
        free = [w for w in free if now - w.answered < SLOW_SECONDS] or free
        if not free:
            with contextlib.suppress(OSError), socket.socket(fileno=fd):
                return
        chosen = min(free, key=lambda w: (w.connections[lane], sum(w.connections.values()), w.pid))
        chosen.connections[lane] += 1
        chosen.send(CONNECTION, lane, now if since is None else since, fd=fd)
