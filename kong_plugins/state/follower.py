"""The follower keeps the newest snapshot of a store, whatever happens to the store."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from threading import Event, Thread

from kong_plugins.state.base import Snapshot, SnapshotSource, StoreError
from kong_plugins.state.snapshot import empty_snapshot

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.2
"""How long one wait for a message lasts: `stop` is heard this late at most."""
_FIRST_BACKOFF_SECONDS = 0.1
_LAST_BACKOFF_SECONDS = 2.0


def backoff(attempt: int, roll: float) -> float:
    """Seconds to wait before attempt 1, 2, ...: doubling up to 2 s, of which `roll` (0..1) takes away up
    to half, so that the nodes do not come back all at once."""
    full = min(_LAST_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2.0 ** min(attempt - 1, 10))
    return full * (1 - roll / 2)


class Follower:
    """Follows a store in a thread: messages tell of changes, a poll of the version finds the ones that no
    message told.

    on_snapshot is called in that thread (the first time in `start`) with every new snapshot. When the store
    is away, unreadable or older than what was seen (data lost, a replica that lags), the last snapshot
    stays and `degraded` is true until the store has caught up.
    """

    def __init__(
        self,
        store: SnapshotSource,
        on_snapshot: Callable[[Snapshot], None],
        poll_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._on_snapshot = on_snapshot
        self._poll_seconds = poll_seconds
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="kgate-state", daemon=True)
        self._loaded = False
        self.snapshot = empty_snapshot()
        """The newest snapshot; the empty one until something could be loaded."""
        self.degraded = True
        """Whether the snapshot may be out of date."""
        self.error = "not loaded yet"
        """Why it is degraded, else empty."""

    def start(self) -> bool:
        """Load the state if the store answers, and follow it from then on. Returns whether it was loaded."""
        try:
            self._catch_up()
        except StoreError as error:
            self._lose(error)
        self._thread.start()
        return self._loaded

    def stop(self) -> None:
        """End the thread and wait for its end. The last snapshot stays readable."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        attempt = 0
        try:
            while not self._stopping.is_set():
                try:
                    # subscribe before reading: a change between the two is then told
                    changes = self._store.subscribe()
                    try:
                        self._catch_up()
                        attempt = 0
                        self._follow(changes.wait)
                    finally:
                        changes.close()
                except StoreError as error:
                    self._lose(error)
                    attempt += 1
                    self._stopping.wait(backoff(attempt, random.random()))  # noqa: S311 - spreads load, no secret
        finally:
            # a thread that dies of an error in on_snapshot must not look healthy
            if not self._stopping.is_set():
                self._lose("the follower's thread has ended")

    def _follow(self, wait: Callable[[float], bool]) -> None:
        polled = time.monotonic()
        while not self._stopping.is_set():
            told = wait(min(_WAIT_SECONDS, self._poll_seconds))
            if told or time.monotonic() - polled >= self._poll_seconds:
                self._catch_up()
                polled = time.monotonic()

    def _catch_up(self) -> None:
        version = self._store.version()
        if self._loaded and version == self.snapshot.version:
            self._recover()
            return
        if version < self.snapshot.version:
            raise StoreError(f"the store went back from version {self.snapshot.version} to {version}")
        snapshot = self._store.load_snapshot()
        if snapshot.version < version:
            raise StoreError(f"the store went back from version {version} to {snapshot.version}")
        self.snapshot = snapshot
        self._loaded = True
        self._on_snapshot(snapshot)
        self._recover()

    def _recover(self) -> None:
        if self.error:
            log.info("control state: up to date at version %d", self.snapshot.version)
        self.degraded, self.error = False, ""

    def _lose(self, error: StoreError | str) -> None:
        if str(error) != self.error:
            log.warning("control state: keeping version %d: %s", self.snapshot.version, error)
        self.degraded, self.error = True, str(error)
