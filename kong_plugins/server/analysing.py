"""The supervisor's side of the analysis: starts it, feeds it, passes on what it finds, starts it again."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from kong_plugins.server.bounded import Bounded
from kong_plugins.server.channel import Channel
from kong_plugins.server.feed import Feed
from kong_plugins.server.handle import Handle
from kong_plugins.server.options import Options, analysis_command
from kong_plugins.server.reload import READY_SECONDS, gone

log = logging.getLogger("kgate.supervisor")

STUCK_SECONDS = 5.0
AGAIN_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.0)
"""Pauses before it is started again, by quick deaths in a row."""
KEPT_CONFIGS = 20_000
KEPT_BATCHES = 1000
"""Batches of outcomes that wait for the next process."""


class Analysing:
    """One analysis. feed: the control state, which it gets as a worker does. local: called with packed changes for
    the workers of this node; levels: with its gauges; died: when it ended unasked."""

    def __init__(
        self,
        options: Options,
        cells_fd: int,
        feed: Feed,
        local: Callable[[bytes], None],
        levels: Callable[[dict[str, dict[str, float]]], None],
        died: Callable[[], None],
    ) -> None:
        self._options, self._cells_fd, self._feed = options, cells_fd, feed
        self._local, self._levels, self._died = local, levels, died
        self._configs = Bounded(KEPT_CONFIGS)
        self._process: Handle | None = None
        self._kept: Any = None
        """What the process before has counted: it tells when it is asked to stop."""
        self._told: dict[str, Any] = {}
        self._told_at = 0.0
        """What it last told the other nodes: all that is left of a process that died."""
        self._waiting: deque[bytes] = deque(maxlen=KEPT_BATCHES)
        self._wanted = False
        self._next = 0.0
        self._quick_deaths = 0

    @property
    def listeners(self) -> list[Handle]:
        """Who gets the control state beside the workers."""
        return [] if self._process is None else [self._process]

    @property
    def pid(self) -> int | None:
        """Of the process, None when there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Begin."""
        self._wanted = True
        self._spawn()

    async def restart(self) -> None:
        """A reload: new code, new server.yaml. The new process goes on with what the old one has counted."""
        await self.stop()
        self.start()

    async def stop(self) -> None:
        """End it and wait for its end."""
        self._wanted = False
        process, self._process = self._process, None
        if process is not None:
            process.leaving = True
            process.send("stop")
            await gone([process], 1.0)
            until = time.monotonic() + 0.5
            while process.channel is not None and time.monotonic() < until:
                await asyncio.sleep(0.002)  # its last words are still being read
            if process.channel is not None:
                process.channel.close()

    def outcomes(self, packed: bytes) -> None:
        """A batch that was not seen before. While there is no process it waits for the next one."""
        if self._process is not None and self._process.channel is not None:
            self._process.send("outcomes", packed)
        else:
            self._waiting.append(packed)

    def config(self, plugin: str, text: str) -> None:
        """A config that a worker has learned of."""
        if self._configs.get((plugin, text)) is None:
            self._configs.put((plugin, text), (plugin, text))
            if self._process is not None:
                self._process.send("config", plugin, text)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(
                    analysis_command(self._options, theirs.fileno(), self._cells_fd),
                    pass_fds=[theirs.fileno(), self._cells_fd],
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            log.error("the analysis cannot be started: %s; trying again", error.strerror)
            self._lost(None)
            return
        handle = self._process = Handle(0, process)
        handle.channel = Channel(
            ours, lambda message, _fd: self._handle(handle, message), lambda: self._closed(handle)
        )
        for plugin, text in self._configs.values():
            handle.send("config", plugin, text)
        if self._kept is not None:
            handle.send("kept", self._kept)
            self._kept = None
        elif self._told:
            handle.send("before", self._told, time.monotonic() - self._told_at)
        while self._waiting:
            handle.send("outcomes", self._waiting.popleft())
        self._feed.greet(handle)

    def _handle(self, handle: Handle, message: list[Any]) -> None:
        handle.answered = time.monotonic()
        kind = message[0]
        if kind == "local":
            self._local(message[1])
        elif kind == "written":
            self._feed.written(message[1], message[2])
        elif kind == "levels":
            self._levels(message[1])
        elif kind == "kept":
            self._kept = message[1]
        elif kind == "told":
            self._told, self._told_at = {**self._told, **message[1]}, time.monotonic()
        elif kind == "hello":
            handle.ready = True

    def _closed(self, handle: Handle) -> None:
        handle.channel = None
        if handle.leaving:
            return
        handle.process.kill()  # it may have closed its end only
        log.error("the analysis (%d) has ended; requests go on", handle.pid)
        self._died()
        self._lost(handle)

    def _lost(self, handle: Handle | None) -> None:
        quick = handle is None or time.monotonic() - handle.started < 5
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        self._next = time.monotonic() + AGAIN_SECONDS[min(self._quick_deaths, len(AGAIN_SECONDS) - 1)]

    def watch(self, now: float, stood_still: bool) -> None:
        """Called at every beat: kill one that hangs, start it again."""
        handle = self._process
        if handle is None or handle.channel is None:
            if handle is not None and handle.process.poll() is None:
                return
            if self._wanted and now >= self._next:
                self._spawn()
            return
        if stood_still:
            handle.answered = now
        # until it has said its first word it starts, which takes long on a busy machine
        limit = STUCK_SECONDS if handle.ready else READY_SECONDS
        if now - handle.answered > limit:
            log.error("the analysis (%d) does not answer: killed", handle.pid)
            handle.process.kill()
        handle.send("ping")
