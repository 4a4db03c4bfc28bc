"""The supervisor's side of the keeper: starts it, passes on what it tells, starts it again when it dies or hangs."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kong_plugins.server.channel import IMAGE, Channel
from kong_plugins.server.config import RedisConfig
from kong_plugins.server.feed import Feed
from kong_plugins.server.handle import Handle
from kong_plugins.server.options import Options, keeper_command
from kong_plugins.server.reload import gone

log = logging.getLogger("kgate.supervisor")

STUCK_SECONDS = 5.0
"""A keeper that does not answer for so long is killed. Building the first image may hold it for a second or two."""
STARTING_SECONDS = 30.0
"""The same until its first word: on a busy machine Python alone takes seconds to start."""
STILL_SECONDS = 180.0
"""The same for its thread that follows the store: longer than any build."""
FIRST_WAIT_SECONDS = 15.0
"""Workers that start wait no longer than this for the first word of the keeper: they close protected routes then."""
AGAIN_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Pauses before it is started again, by quick deaths in a row."""


class Health(NamedTuple):
    """How current the control state is. age: seconds since the store last confirmed it."""

    degraded: bool
    age: float
    version: int
    blocks: int


class Keeping:
    """One keeper while there is a store. workers: those to tell; died: called when it ended unasked."""

    def __init__(
        self,
        options: Options,
        cells_fd: int,
        workers: Callable[[], Iterable[Handle]],
        died: Callable[[], None],
    ) -> None:
        self._options, self._cells_fd = options, cells_fd
        self._workers, self._died = workers, died
        self.feed = Feed()
        self._redis = RedisConfig()
        self._process: Handle | None = None
        self._next = 0.0
        self._quick_deaths = 0
        self._waiting_since = 0.0
        self._told: dict[str, Any] = {}
        self._started = time.monotonic()

    def start(self, redis: RedisConfig) -> None:
        """Follow this store; without a URL the state is empty, and no process is needed."""
        self._redis = redis
        self._waiting_since = time.monotonic()
        self.feed.empty = redis.url is None
        if redis.url is None:
            self.feed.settle(self._workers())
            return
        self._spawn()

    async def restart(self, redis: RedisConfig) -> None:
        """A reload: a new process, new code. What is known stays, unless it is another store's."""
        same = (redis.url, redis.namespace) == (self._redis.url, self._redis.namespace)
        await self.stop()
        if not same:
            self.feed.clear()
            self.feed.settled = False
            self._told = {}
        self.start(redis)

    async def stop(self) -> None:
        """End it and wait for its end."""
        process, self._process = self._process, None
        self._redis = RedisConfig()
        if process is not None:
            process.leaving = True
            process.send("stop")
            await gone([process], 1.0)
            if process.channel is not None:
                process.channel.close()

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(
                    keeper_command(self._options, theirs.fileno(), self._cells_fd),
                    pass_fds=[theirs.fileno(), self._cells_fd],
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            log.error("the keeper of the control state cannot be started: %s; trying again", error.strerror)
            self._lost(None)
            return
        keeper = self._process = Handle(0, process)
        keeper.channel = Channel(
            ours, lambda message, fd: self._handle(keeper, message, fd), lambda: self._closed(keeper)
        )
        settled, self.feed.settled = self.feed.settled, True
        self.feed.greet(keeper)
        self.feed.settled = settled

    def _handle(self, keeper: Handle, message: list[Any], fd: int | None) -> None:
        keeper.answered = time.monotonic()
        kind = message[0]
        if kind == IMAGE and fd is not None:
            self.feed.image(message[1], message[2], fd, self._workers())
            self.feed.settle(self._workers())
        elif kind == "delta":
            self.feed.delta(message[1], self._workers())
        elif kind == "state":
            self._told = message[1]
            keeper.ready = True
            self.feed.settle(self._workers())

    def _closed(self, keeper: Handle) -> None:
        keeper.channel = None
        if keeper.leaving:
            return
        keeper.process.kill()  # it may have closed its end only
        log.error("the keeper of the control state (%d) has ended; the workers go on", keeper.pid)
        self._died()
        self._lost(keeper)

    def _lost(self, keeper: Handle | None) -> None:
        quick = keeper is None or time.monotonic() - keeper.started < 5
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        self._next = time.monotonic() + AGAIN_SECONDS[min(self._quick_deaths, len(AGAIN_SECONDS) - 1)]

    def watch(self, now: float, stood_still: bool) -> None:
        """Called at every beat: kill a keeper that hangs, start one again, let workers go that wait too long."""
        if not self.feed.settled and now - self._waiting_since > FIRST_WAIT_SECONDS:
            log.error("the keeper of the control state said nothing: the workers start without it")
            self.feed.settle(self._workers())
        keeper = self._process
        if keeper is None or keeper.channel is None:
            if keeper is not None and keeper.process.poll() is None:
                return
            if self._redis.url is not None and now >= self._next:
                self._spawn()
            return
        if stood_still:
            keeper.answered = now
        beat = self._told.get("beat", now) if keeper.ready else now
        silent = STUCK_SECONDS if keeper.answered > keeper.started else STARTING_SECONDS
        if now - keeper.answered > silent or now - beat > STILL_SECONDS:
            log.error("the keeper of the control state (%d) does not answer: killed", keeper.pid)
            keeper.process.kill()
        keeper.send("ping")

    def health(self) -> Health:
        """For probes and metrics. Degraded: the store, or who follows it, is away."""
        told, now = self._told, time.monotonic()
        if self._redis.url is None:
            return Health(False, 0.0, 0, 0)
        gone_away = self._process is None or self._process.channel is None
        confirmed = told.get("confirmed") or self._started
        current = bool(told) and not told["degraded"] and not gone_away
        age = now - confirmed
        return Health(not current, max(0.0, age), told.get("version", 0), told.get("blocks", 0))
