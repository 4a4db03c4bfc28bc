"""Brings what changes in the keyring's store to this process, and writes the public keys down for front servers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kong_plugins.identity.files import write_private
from kong_plugins.identity.key_files import KeyFiles
from kong_plugins.identity.key_records import KeyRecord
from kong_plugins.identity.ring import Ring

LOOK_SECONDS = 1.0

_log = logging.getLogger("kgate.identity")


class Records(Protocol):
    """A snapshot of the control state."""

    def records(self, collection: str) -> Mapping[str, Any]:
        """The records of a collection by key."""
        ...


class RingWatch:
    """The keyring of a folder (`files`), or of the control state. `look` is for the thread that uses the ring."""

    def __init__(
        self, ring: Ring, files: KeyFiles | None, public: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._ring, self._files, self._public = ring, files, public
        self._clock = clock
        self._seen: Records | None = None
        self._stamp = files.stamp if files is not None else ()
        self._loaded: list[KeyRecord] | None = None
        self._changed = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        if files is not None:
            self._tell()

    def look(self, snapshot: Records) -> None:
        """Take what there is of newer records."""
        if self._files is not None:
            loaded = self._loaded
            if loaded is not None:
                if self._ring.use(loaded):
                    self._tell()
                if self._loaded is loaded:
                    self._loaded = None
        elif snapshot is not self._seen:
            if self._ring.use_data(snapshot.records("keys")):
                self._tell()
            self._seen = snapshot  # last: a request's deadline may have ended the above

    def _tell(self) -> None:
        """The thread writes: a slow disk must not hold a request."""
        self._jwks = self._ring.public_jwks(self._clock())
        self._changed.set()

    def start(self) -> None:
        """Begin to look, in a daemon thread."""
        self._thread = threading.Thread(target=self._run, name="keyring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(0.5)

    def _run(self) -> None:
        while not self._stopping:
            self.poll()
            if self._stopping:  # poll may have taken the wake-up of `stop`
                return
            self._changed.wait(None if self._files is None else LOOK_SECONDS)

    def poll(self) -> None:
        """What the thread does each time: read the folder if it changed, write the public keys if they did."""
        if self._files is not None and self._files.stamp != self._stamp:
            stamp = self._files.stamp
            try:
                self._loaded = self._files.load()
                self._stamp = stamp
            except ValueError as error:
                _log.error("passport.keyring: %s: the keys of before stay", error)
        if self._changed.is_set():
            self._changed.clear()
            if self._stopping:
                return
            try:
                publish(self._public, self._jwks)
            except OSError as error:
                _log.error("%s cannot be written: %s", self._public, error.strerror)


def publish(path: Path, jwks: Mapping[str, Any]) -> None:
    """Write the public keys, unless they are there: a full disk must not keep a worker from coming back.

    Raises OSError.
    """
    raw = json.dumps(jwks, indent=1).encode() + b"\n"
    try:
        if path.read_bytes() == raw:
            return
    except OSError:
        pass
    scratch = write_private(path, raw)
    scratch.chmod(0o644)
    scratch.replace(path)
