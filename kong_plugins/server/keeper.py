"""The keeper: one process per node that follows the control state in Redis for all workers.

Started by the supervisor as `python -m kong_plugins.server.keeper`. It begins with the newest of what the supervisor
still has and what is on disk, follows Redis, and tells the supervisor of images and changes; each is on disk before
it is told. It also exchanges what the cells used with the other nodes. Nobody waits for it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kong_plugins.server import logs
from kong_plugins.server.builder import build_apart
from kong_plugins.server.channel import IMAGE, Channel
from kong_plugins.server.config import ServerConfig, load
from kong_plugins.state.build_image import build_image
from kong_plugins.state.cells import Cells
from kong_plugins.state.connection import connect
from kong_plugins.state.deltas import Delta, apply_all, delta_of
from kong_plugins.state.exchange import Exchange
from kong_plugins.state.files import StateFiles, state_key
from kong_plugins.state.follower import Build, Built, Follower
from kong_plugins.state.image import Image, StateFileError, sealed_memfd
from kong_plugins.state.open import open_store
from kong_plugins.state.resets import Resets
from kong_plugins.state.snapshot import Snapshot, snapshot_of

log = logging.getLogger("kgate.keeper")

STATUS_SECONDS = 0.5

Start = tuple[int, list[Delta], Snapshot]
"""Descriptor of the image, changes since, both together."""


class Outbox:
    """Saves what is new, then tells the supervisor: a `Listener` of the follower, in its thread."""

    def __init__(self, files: StateFiles | None, tell: Callable[..., None], resets: Resets) -> None:
        self._files, self._tell, self._resets = files, tell, resets
        self._deltas: list[Delta] = []
        self._base = 0
        self._full = False

    def begin(self, base: int, deltas: list[Delta]) -> None:
        """What is told and saved already."""
        self._base, self._deltas = base, list(deltas)

    def image(self, built: Built, deltas: list[Delta], snapshot: Snapshot, restarted: bool) -> None:
        info = built.image.info
        if info["unreadable"]:
            log.error("%d records cannot be read and are left out: %s", info["unreadable"], info["samples"])
        self._base, self._deltas = built.image.version, list(deltas)
        if restarted:
            # what was saved belongs to another history
            self._save(lambda files: files.drop_deltas())
        self._save(lambda files: files.take_image(built.file, built.fd))
        self._save(lambda files: files.save_deltas(self._base, self._deltas))
        self._tell(IMAGE, self._base, [list(each) for each in deltas], fd=built.fd)
        os.close(built.fd)
        self._resets.image(snapshot)

    def delta(self, delta: Delta, _snapshot: Snapshot) -> None:
        self._deltas.append(delta)
        self._save(lambda files: files.save_deltas(self._base, self._deltas))
        self._tell("delta", list(delta))
        self._resets.delta(delta)

    def _save(self, write: Callable[[StateFiles], None]) -> None:
        if self._files is None:
            return
        try:
            write(self._files)
            self._full = False
        except OSError as error:
            if not self._full:
                log.error("the control state cannot be saved: %s; the rest goes on", error.strerror)
            self._full = True


class Keeper:
    """Follows the store until the supervisor ends it, or is gone."""

    def __init__(
        self, config: ServerConfig, path: Path | None, state_dir: Path, channel: socket.socket, cells: Cells
    ) -> None:
        self._config, self._path, self._state_dir = config, path, state_dir
        self._channel_socket = channel
        self._cells = cells
        self._files: StateFiles | None = None
        self._given: Start | None = None
        self._follower: Follower | None = None
        self._said: tuple[Any, ...] = ()

    async def run(self) -> None:
        """Serve the supervisor. Raises ValueError for a config that cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the supervisor gets them and tells us
        self._channel = Channel(self._channel_socket, self._handle, self._stopped.set)
        self._channel.send("hello")
        await self._stopped.wait()

    def _handle(self, message: list[Any], fd: int | None) -> None:
        kind = message[0]
        if kind == "ping":
            self._channel.send("pong")
        elif kind == IMAGE and fd is not None:
            self._given = self._read_given(message[2], fd)
        elif kind == "go":
            self._start()
        elif kind == "stop":
            self._stopped.set()

    def _read_given(self, wire: list[Any], fd: int) -> Start | None:
        """What the keeper before this one told: the image is sealed, and made on this node."""
        try:
            deltas = [delta_of(each) for each in wire]
            return fd, deltas, apply_all(snapshot_of(Image.open(fd)), deltas)
        except (StateFileError, ValueError) as error:
            log.error("the last snapshot cannot be used: %s", error)
            os.close(fd)
            return None

    def _read_saved(self) -> Start | None:
        if self._files is None:
            return None
        try:
            saved = self._files.load()
        except (StateFileError, OSError) as error:
            log.error("the saved control state cannot be used: %s", error)
            return None
        return None if saved is None else (saved.fd, saved.deltas, saved.snapshot)

    def _start(self) -> None:
        """Begin with the newest snapshot that is here, and follow the store."""
        if self._follower is not None:
            return
        redis = self._config.redis
        key = os.urandom(32)
        try:
            key = state_key(self._state_dir, self._config.state_key_file, self._config.base_dir)
            self._files = StateFiles(self._state_dir, redis.namespace, key)
            self._files.clean()
        except (OSError, ValueError) as error:
            log.error("%s: the control state is not saved: %s", self._state_dir, error)
        given, saved = self._given, self._read_saved()
        # saved before it is told: the file may be newer, never older (but for a full disk)
        start = max((each for each in (given, saved) if each), key=lambda each: each[2].version, default=None)
        self._exchange = Exchange(self._cells, self._connect, redis.namespace)
        self._resets = Resets(self._cells, self._exchange)
        outbox = Outbox(self._files, self._tell, self._resets)
        store = open_store(redis.url, redis.namespace, redis.ca_file)
        apart = build_apart(self._path, self._state_dir, redis.namespace) if self._files else None
        self._follower = Follower(
            store,
            outbox,
            self._build(store, key),
            apart,
            redis.poll_seconds,
            None if start is None else (start[1], start[2]),
        )
        if start is not None:
            outbox.begin(start[2].image_version, start[1])
            if start is not given:
                self._tell(IMAGE, start[2].image_version, [list(each) for each in start[1]], fd=start[0])
        for each in (given, saved):
            if each is not None:
                os.close(each[0])
        if start is not None:
            self._resets.image(start[2])
        self._follower.start()
        self._exchange.start()
        self._task = self._loop.create_task(self._report(self._follower))

    def _connect(self) -> Any:
        redis = self._config.redis
        assert redis.url is not None
        return connect(redis.url, redis.ca_file, decode_responses=False)

    def _build(self, store: Any, key: bytes) -> Build:
        """The first image: nobody has anything else to wait for."""

        def build() -> Built:
            namespace = self._config.redis.namespace
            data = build_image(store.load(), namespace=namespace, built=time.time(), key=key)
            fd = sealed_memfd(data)
            return Built(Image.open(fd), fd)

        return build

    def _tell(self, *message: Any, fd: int | None = None) -> None:
        """From any thread. The descriptor stays the caller's only until this returns: it is duplicated."""
        copy = None if fd is None else os.dup(fd)
        self._loop.call_soon_threadsafe(lambda: self._channel.send(*message, fd=copy))

    async def _report(self, follower: Follower) -> None:
        """Tell the supervisor how it is; end when the follower's thread has ended."""
        while follower.alive:
            self._resets.retry()
            if follower.tried.is_set():  # not before its image was told: workers begin at the first word
                snapshot = follower.snapshot
                self._channel.send(
                    "state",
                    {
                        "version": follower.version,
                        "built": 0.0 if snapshot is None else snapshot.built,
                        "blocks": 0 if snapshot is None else len(snapshot.blocks),
                        "unreadable": 0 if snapshot is None else snapshot.unreadable,
                        "degraded": follower.degraded,
                        "confirmed": follower.confirmed,
                        "beat": follower.beat,
                        "exchanging": self._exchange.connected,
                    },
                )
            fast = not follower.tried.is_set()
            before = follower.degraded
            for _ in range(10):
                await asyncio.sleep(STATUS_SECONDS / 10)
                if fast or follower.degraded != before:
                    break
        log.error("the follower has ended")
        self._stopped.set()


def main() -> None:
    """The keeper's own process: arguments from the supervisor, one channel as file descriptor."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--cells-fd", type=int, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--log-level", required=True)
    parser.add_argument("--log-format", required=True)
    args = parser.parse_args()
    logs.configure(args.log_level, args.log_format)
    channel = socket.socket(fileno=args.channel_fd)
    config = load(args.config, os.environ)
    cells = Cells.attach(args.cells_fd)
    keeper = Keeper(config, args.config, args.state_dir, channel, cells)
    asyncio.run(keeper.run())
    # threads may be waiting for Redis: nothing of theirs needs an end
    os._exit(0)


if __name__ == "__main__":
    main()
