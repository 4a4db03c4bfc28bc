"""The follower keeps the newest snapshot of a store, whatever happens to the store."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple, Protocol

from kong_plugins.state.base import Reader, StoreError
from kong_plugins.state.build_image import build_image
from kong_plugins.state.deltas import Delta, apply_all, read_delta
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.snapshot import Snapshot, snapshot_of

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.2
"""How long one wait for a message lasts: `stop` is heard this late at most."""
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 0.1, 2.0
MAX_CHANGES = 1_000
"""Changes since the image; with more of them a new image is built."""
MAX_AGE_SECONDS = 30.0
"""The same by time: so long after the first change."""
SMALL = 20_000
"""Rows of blocks and lists: up to so many an image is built in this process, in a tenth of a second."""
BACK_SECONDS = 10.0
"""A store whose version went back is not believed for so long: a replica that lags may still catch up."""
AGAIN_SECONDS = 30.0
"""Without messages: how often a subscription is tried again."""


def backoff(attempt: int, roll: float) -> float:
    """Seconds to wait before attempt 1, 2, ...: doubling up to 2 s, of which `roll` (0..1) takes away up
    to half, so that the nodes do not come back all at once."""
    full = min(LAST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt - 1, 10))
    return full * (1 - roll / 2)


class Built(NamedTuple):
    """A new image; fd is its shared memory, -1 where it is in this process alone. file: where it is on disk, to be
    moved in place; it goes with the fd."""

    image: Image
    fd: int = -1
    file: Path | None = None


Build = Callable[[], Built]
"""Reads the store and builds an image of it. Raises StoreError, StateFileError, OSError."""


def build_here(store: Reader, namespace: str = "default") -> Build:
    """Builds images in this process's memory."""
    return lambda: Built(Image.open(build_image(store.load(), namespace=namespace, built=time.time())))


class Listener(Protocol):
    """Hears what is new, in the follower's thread."""

    def image(self, built: Built, deltas: list[Delta], snapshot: Snapshot, restarted: bool) -> None:
        """A new image, and the changes since: `snapshot` is both. restarted: it may be older than what was told
        before, because the store itself went back."""
        ...

    def delta(self, delta: Delta, snapshot: Snapshot) -> None:
        """A change; `snapshot` is the state after it."""
        ...


class Follower:
    """Follows a store in a thread: messages tell of changes, a poll of the version finds the ones that no message
    told. Small changes are told as deltas; now and then a new image is built meanwhile in another thread.

    When the store is away or unreadable the last snapshot stays and `degraded` is true until the store has caught
    up. A store that went back (data lost, an older replica) is not believed at first; after BACK_SECONDS its word
    counts again, but for an empty one: that never takes away what was there.

    build: for the first image and small ones, in this process; rebuild: for large ones. saved: changes since the
    image, and the snapshot to begin with.
    """

    def __init__(
        self,
        store: Reader,
        listener: Listener,
        build: Build,
        rebuild: Build | None = None,
        poll_seconds: float = 2.0,
        saved: tuple[list[Delta], Snapshot] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._listener = store, listener
        self._build, self._rebuild = build, rebuild or build
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="kgate-state", daemon=True)
        self._builder: Thread | None = None
        self._outcome: Built | str | None = None
        self._deltas: list[Delta] = [] if saved is None else list(saved[0])
        self._changed = 0.0 if saved is None or not saved[0] else monotonic()
        self._back = 0.0
        self._not_before = 0.0
        self._told = False
        self.snapshot: Snapshot | None = None if saved is None else saved[1]
        """The newest snapshot, None until there is one."""
        self.degraded = True
        """Whether the snapshot may be out of date."""
        self.error = "not read yet"
        """Why it is degraded, else empty."""
        self.confirmed = 0.0
        """When the store last said that the snapshot is the newest, by `monotonic`; 0: never."""
        self.beat = monotonic()
        """When the thread last came round."""
        self.tried = Event()
        """Set once the store was asked for the first time, or could not be."""

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for its end. The last snapshot stays readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stopping.is_set():
                try:
                    self._connected()
                    attempt = 0
                except StoreError as error:
                    self._lose(str(error))
                    attempt = 1 if self._monotonic() - self.confirmed < 1 else attempt + 1
                    self._stopping.wait(backoff(attempt, random.random()))  # noqa: S311 - spreads load, no secret
        finally:
            # a thread that dies of an error must not look healthy
            if not self._stopping.is_set():
                self._lose("the follower's thread has ended")

    def _connected(self) -> None:
        """Follow until the connection is lost. Raises StoreError."""
        # subscribe before reading: a change between the two is then told
        try:
            changes = self._store.subscribe()
        except StoreError as error:
            # messages may be forbidden (ACL) or broken by something in between: the poll goes on alone
            self._catch_up()
            log.warning("control state: changes are found by polling alone: %s", error)
            self._follow(self._sleep, AGAIN_SECONDS)
            return
        try:
            self._catch_up()
            self._follow(changes.wait, None)
        finally:
            changes.close()

    def _sleep(self, seconds: float) -> bool:
        self._stopping.wait(seconds)
        return False

    def _follow(self, wait: Callable[[float], bool], seconds: float | None) -> None:
        started = polled = self._monotonic()
        while not self._stopping.is_set():
            told = wait(min(WAIT_SECONDS, self._poll_seconds))
            now = self.beat = self._monotonic()
            if told or now - polled >= self._poll_seconds:
                self._catch_up()
                polled = now
            self._images(now)
            if seconds is not None and now - started >= seconds:
                return

    def _catch_up(self) -> None:
        self.beat = self._monotonic()
        snapshot = self.snapshot
        if snapshot is None:
            self._take(self._run_build(self._build), restarted=True)
        else:
            version = self._store.version()
            if version < snapshot.version:
                self._went_back(snapshot, version)
            elif version > snapshot.version:
                news = self._store.changes_since(snapshot.version)
                if news is None:
                    log.info(
                        "control state: read anew, the store's log does not reach back to %d", self.version
                    )
                    self._read_anew(snapshot, version)
                elif news:
                    self._apply(read_delta(self._store, news), snapshot)
        self._back = 0.0
        self.confirmed = self._monotonic()
        if self._told:
            log.info("control state: up to date at version %d", self.version)
            self._told = False
        self.degraded, self.error = False, ""
        self.tried.set()

    @property
    def version(self) -> int:
        return 0 if self.snapshot is None else self.snapshot.version

    def _apply(self, delta: Delta, snapshot: Snapshot) -> None:
        self.snapshot = delta.applied_to(snapshot)
        self._changed = self._changed or self._monotonic()
        self._deltas.append(delta)
        self._listener.delta(delta, self.snapshot)

    def _went_back(self, snapshot: Snapshot, version: int) -> None:
        now, ours = self._monotonic(), snapshot.version
        self._back = self._back or now
        if version == 0 or now - self._back < BACK_SECONDS:
            raise StoreError(f"the store went back from version {ours} to {version}: it lost data, or lags")
        log.error("control state: following the store back from version %d to %d", ours, version)
        self._read_anew(snapshot, version)

    def _read_anew(self, snapshot: Snapshot, version: int) -> None:
        built = self._run_build(self._how(snapshot))
        if built.image.version < version:
            _close(built)
            raise StoreError(f"the store went back from version {version} to {built.image.version}")
        self._deltas = []
        self._take(built, restarted=True)

    # images

    def _run_build(self, build: Build) -> Built:
        try:
            return build()
        except (StateFileError, OSError) as error:
            raise StoreError(f"no image could be built: {error}") from error

    def _images(self, now: float) -> None:
        """Take the image that was built meanwhile; begin a new one when it is time."""
        if self._builder is not None:
            if self._builder.is_alive():
                return
            self._builder, outcome = None, self._outcome
            if isinstance(outcome, Built):
                self._take(outcome, restarted=False)
            else:
                log.error("control state: no new image: %s", outcome)
                self._not_before = now + 5.0
        snapshot = self.snapshot
        if snapshot is None or not snapshot.changes or now < self._not_before:
            return
        old = now - self._changed >= MAX_AGE_SECONDS
        if snapshot.wants_image or snapshot.changes > MAX_CHANGES or old:
            self._builder = Thread(
                target=self._work, args=(self._how(snapshot),), name="kgate-image", daemon=True
            )
            self._outcome = None
            self._builder.start()

    def _how(self, snapshot: Snapshot) -> Build:
        """A small state is built sooner here than in a process that has to start first."""
        size = len(snapshot.blocks) + sum(len(each) for each in snapshot.lists.values())
        return self._build if size <= SMALL and not snapshot.wants_image else self._rebuild

    def _work(self, build: Build) -> None:
        try:
            self._outcome = self._run_build(build)
        except StoreError as error:
            self._outcome = str(error)

    def _take(self, built: Built, restarted: bool) -> None:
        """Make an image the base, with the changes that it does not hold yet. Raises StoreError."""
        try:
            snapshot = snapshot_of(built.image)
        except StateFileError as error:
            raise StoreError(f"the image that was built cannot be read: {error}") from error
        deltas = [delta for delta in self._deltas if delta.version > snapshot.version]
        if self.snapshot is not None and not restarted:
            reached = deltas[-1].version if deltas else snapshot.version
            if reached < self.snapshot.version:
                _close(built)  # it was overtaken, or read from a replica that lags
                return
        self.snapshot = apply_all(snapshot, deltas)
        self._deltas = deltas
        self._changed = self._monotonic() if deltas else 0.0
        self._listener.image(built, deltas, self.snapshot, restarted)

    def _lose(self, error: str) -> None:
        if not self._told:  # once, however often it is tried again
            log.warning("control state: keeping version %d: %s", self.version, error)
            self._told = True
        self.degraded, self.error = True, error
        self.tried.set()


def _close(built: Built) -> None:
    if built.fd >= 0:
        os.close(built.fd)
    if built.file is not None:
        built.file.unlink(missing_ok=True)
