"""The supervisor: owns the sockets, accepts, hands each connection to the worker with the fewest, keeps workers
alive, and replaces them without losing a connection.

It decides nothing about requests. All configs that Kong has started are kept here, so that every worker, also one
that starts later, knows each instance id before Kong uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from kong_plugins.server.bounded import Bounded
from kong_plugins.server.channel import CONNECTION, Channel
from kong_plugins.server.config import ServerConfigError
from kong_plugins.server.handle import Handle
from kong_plugins.server.metrics import Metrics
from kong_plugins.server.outcomes import Outcomes
from kong_plugins.server.peers import Allowed, peer_of
from kong_plugins.server.probes import Probes

log = logging.getLogger("kgate.supervisor")

BEAT_SECONDS = 0.1
STUCK_SECONDS = 1.0
"""A worker whose event loop does not answer for so long is killed: C code cannot be stopped otherwise."""
READY_SECONDS = 20.0
DRAIN_SECONDS = 3.0
LAST_BACKOFF_SECONDS = 0.8
KEPT_CONFIGS = 20_000


class Options(NamedTuple):
    """What the workers are started with."""

    run_dir: Path
    config: Path | None
    workers: int
    deadline: float
    log_level: str
    log_format: str
    allowed: Allowed
    metrics: tuple[str, int] | None = None


class Supervisor:
    """Runs until SIGTERM or SIGINT. validate: reads the config again before a reload, raises ServerConfigError."""

    def __init__(
        self,
        options: Options,
        sockets: dict[str, socket.socket],
        validate: Callable[[], None],
        ready: Callable[[], None],
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._validate = validate
        self._on_ready: Callable[[], None] | None = ready
        self.metrics = Metrics()
        self.outcomes = Outcomes(self.metrics.outcome)
        self._workers: list[Handle] = []
        self._generation = 0
        self._configs = Bounded(KEPT_CONFIGS)
        self._announced: dict[int, tuple[set[int], Callable[[], None]]] = {}
        self._number = 0
        self._accepting = False
        self._quick_deaths = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._reloading = False
        self._stopping = False

    async def run(self) -> None:
        """Serve until a signal says to stop."""
        loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._start(self.reload()))
        probes = Probes(self.metrics, self._serving, self._options.workers, self._sockets)
        if self._options.metrics is not None:
            await probes.server.start(*self._options.metrics)
        for _ in range(self._options.workers):
            self._spawn()
        self._start(self._watch())
        await self._stopped.wait()
        self._stopping = True
        self._accept(False)
        for worker in self._workers:
            worker.send("stop")
        await self._gone(list(self._workers), DRAIN_SECONDS)
        probes.server.close()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # workers

    def _spawn(self) -> Handle:
        ours, theirs = socket.socketpair()
        o = self._options
        command = [sys.executable, "-m", "kong_plugins.server.worker", "--channel-fd", str(theirs.fileno())]
        command += ["--run-dir", str(o.run_dir), "--deadline", str(o.deadline)]
        command += ["--log-level", o.log_level, "--log-format", o.log_format]
        command += ["--config", str(o.config)] if o.config else []
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.DEVNULL)
        theirs.close()
        worker = Handle(self._generation, process)
        worker.channel = Channel(
            ours, lambda message, fd: self._handle(worker, message, fd), lambda: self._lost(worker)
        )
        self._workers.append(worker)
        for plugin, text in self._configs.values():
            worker.send("config", plugin, text, 0)
        return worker

    def _handle(self, worker: Handle, message: list[Any], fd: int | None) -> None:
        kind = message[0]
        worker.answered = time.monotonic()
        if kind == "closed":
            worker.connections[message[1]] -= 1
        elif kind == CONNECTION:
            worker.connections[message[1]] -= 1
            assert fd is not None
            self._hand_out(message[1], fd)
        elif kind == "outcomes":
            if self.outcomes.take(*message[1:4]):
                self.metrics.lost(message[2])
                log.debug(
                    "outcomes of batch %s: %d rows, %d dropped", message[1], len(message[3]), message[2]
                )
        elif kind == "announce":
            self._announce(worker, *message[1:4])
        elif kind == "known":
            self._known(worker, message[1])
        elif kind == "stats":
            worker.stats = message[1]
            self.metrics.worker(message[1])
            self.metrics.stood_still(message[1]["stalls"])
        elif kind == "ready":
            worker.ready = True
            log.info("worker %d is ready", worker.pid)
            self._accept(True)
            if self._on_ready is not None and self._all_ready():
                self._on_ready()
                self._on_ready = None
        elif kind == "drained":
            worker.send("stop")

    def _serving(self) -> list[Handle]:
        return [worker for worker in self._workers if worker.ready and not worker.leaving]

    def _all_ready(self) -> bool:
        ready = [w for w in self._workers if w.ready and w.generation == self._generation]
        return len(ready) >= self._options.workers

    def _lost(self, worker: Handle) -> None:
        """The channel is closed: the worker has ended, or is ending."""
        worker.channel = None
        worker.ready = False
        for number in list(self._announced):
            self._known(worker, number)
        self._start(self._bury(worker))

    async def _bury(self, worker: Handle) -> None:
        until = time.monotonic() + 0.5
        while worker.process.poll() is None:
            if time.monotonic() > until:
                worker.process.kill()
            await asyncio.sleep(0.005)
        if worker in self._workers:
            self._workers.remove(worker)
        self._accept(any(w.ready for w in self._workers))
        if worker.leaving or self._stopping:
            return
        log.error("worker %d has ended (%s)", worker.pid, worker.process.returncode)
        self.metrics.died()
        if worker.generation != self._generation or self._reloading:
            return
        quick = time.monotonic() - worker.started < 5
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        await asyncio.sleep(
            min(LAST_BACKOFF_SECONDS, 0.05 * 2.0 ** min(self._quick_deaths - 1, 5)) if quick else 0
        )
        if not self._stopping and worker.generation == self._generation:
            self._spawn()

    async def _watch(self) -> None:
        """Ping the workers; kill the one that does not answer while this process does run."""
        last = time.monotonic()
        while not self._stopping:
            await asyncio.sleep(BEAT_SECONDS)
            now = time.monotonic()
            stood_still = now - last > 3 * BEAT_SECONDS
            last = now
            for worker in self._workers:
                if stood_still:
                    worker.answered = now  # so did everybody, perhaps: begin to count anew
                limit = STUCK_SECONDS if worker.ready else READY_SECONDS
                if now - worker.answered > limit and worker.process.poll() is None:
                    log.error(
                        "worker %d does not answer for %.1f s: killed", worker.pid, now - worker.answered
                    )
                    worker.process.kill()
                worker.send("ping")

    async def reload(self) -> None:
        """Start a new generation of workers, give them the connections, end the old ones.

        A config that is not valid, or workers that do not start, change nothing.
        """
        if self._reloading or self._stopping:
            return
        try:
            self._validate()
        except (ServerConfigError, ValueError) as error:
            log.error("not reloaded: %s", error)
            return
        self._reloading = True
        old = [worker for worker in self._workers if not worker.leaving]
        self._generation += 1
        new = [self._spawn() for _ in range(self._options.workers)]
        until = time.monotonic() + READY_SECONDS
        while not all(w.ready for w in new) and time.monotonic() < until:
            if any(w.process.poll() is not None for w in new):
                break
            await asyncio.sleep(0.01)
        if all(worker.ready for worker in new):
            for worker in old:
                worker.leaving = True
                worker.send("drain")
            await self._gone(old, 2 * DRAIN_SECONDS)
            log.info("reloaded: %d new workers", len(new))
        else:
            log.error("not reloaded: the new workers did not start; the old ones go on")
            self._generation -= 1
            for worker in new:
                worker.leaving = True
                worker.process.kill()
        self._reloading = False

    async def _gone(self, workers: list[Handle], seconds: float) -> None:
        until = time.monotonic() + seconds
        for worker in workers:
            while worker.process.poll() is None:
                if time.monotonic() > until:
                    worker.process.kill()
                await asyncio.sleep(0.005)

    # configs

    def _announce(self, origin: Handle, number: int, plugin: str, text: str) -> None:
        self._configs.put((plugin, text), (plugin, text))
        others = [w for w in self._workers if w is not origin and w.channel is not None]
        self._number += 1

        def done() -> None:
            origin.send("announced", number)

        if not others:
            done()
            return
        self._announced[self._number] = ({w.pid for w in others}, done)
        for worker in others:
            worker.send("config", plugin, text, self._number)

    def _known(self, worker: Handle, number: int) -> None:
        waiting = self._announced.get(number)
        if waiting is None:
            return
        pids, done = waiting
        pids.discard(worker.pid)
        if not pids:
            del self._announced[number]
            done()

    # connections

    def _accept(self, wanted: bool) -> None:
        """Take connections only while somebody can serve them; else they wait in the kernel."""
        if wanted == self._accepting:
            return
        self._accepting = wanted
        loop = asyncio.get_running_loop()
        for lane, sock in self._sockets.items():
            if wanted:
                loop.add_reader(sock.fileno(), self._take, lane, sock)
            else:
                loop.remove_reader(sock.fileno())

    def _take(self, lane: str, listener: socket.socket) -> None:
        for _ in range(64):
            try:
                sock, _address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.error("cannot accept on %s: %s", lane, error.strerror)
                return
            with sock:
                try:
                    peer = peer_of(sock)
                except OSError:
                    continue
                if not self._options.allowed.admits(peer):
                    self.metrics.refused()
                    log.error(
                        "refused a connection of uid %d (pid %d): add --allow-uid %d to admit it",
                        *(peer.uid, peer.pid, peer.uid),
                    )
                    continue
                self._hand_out(lane, sock.detach())

    def _hand_out(self, lane: str, fd: int) -> None:
        serving = self._serving()
        free = [w for w in serving if w.generation == self._generation] or serving
        if not free:
            with contextlib.suppress(OSError), socket.socket(fileno=fd):
                return
        chosen = min(free, key=lambda w: (w.connections[lane], sum(w.connections.values()), w.pid))
        chosen.connections[lane] += 1
        chosen.send(CONNECTION, lane, fd=fd)
