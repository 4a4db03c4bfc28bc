"""One process of a node fetches an issuer's keys, the others read what it saved.

    NAME.jwks.json  the last good document; its time is when the issuer last confirmed it
    .NAME.lock      held (flock) by the process that fetches; the kernel frees it when that process ends
    .NAME.want      its time is when a process last met an unknown key id

Time 0 on the lock file says that the holder cannot save: everybody fetches for himself then.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from kong_plugins.identity import http_get, strict_json
from kong_plugins.identity.files import read_own, write_private

_log = logging.getLogger(__name__)


class Saved(NamedTuple):
    """A saved document, when it was last confirmed (Unix seconds), and after how many seconds it is fetched again."""

    document: Any
    confirmed: float
    refresh: float


class Shelf:
    """The files of one issuer in `folder`; `url` is kept with the document, which counts for that URL alone."""

    def __init__(self, folder: Path, name: str, url: str) -> None:
        self._path = folder / f"{name}.jwks.json"
        self._lock = folder / f".{name}.lock"
        self._want = folder / f".{name}.want"
        self._name, self._url = name, url
        self._fd = -1

    def lead(self) -> bool:
        """Whether this process fetches: it holds the lock, or there is no lock to be had."""
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = os.fstat(fd).st_mtime == 0
            os.close(fd)
            return alone
        except OSError:
            os.close(fd)
            return True
        self._fd = fd
        return True

    def release(self) -> None:
        """Let another process fetch."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> Saved | None:
        """What is saved for this URL. None when there is nothing that can be used; says why in the log."""
        try:
            confirmed = self._path.stat().st_mtime
            saved = strict_json.loads(read_own(self._path, 2 * http_get.MAX_BYTES))
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("issuer %s: saved keys not used: %s", self._name, error)
            return None
        if not isinstance(saved, dict) or saved.get("url") != self._url:
            return None
        refresh = saved.get("refresh")
        if isinstance(refresh, bool) or not isinstance(refresh, int | float) or not 0 < refresh <= 86_400:
            return None
        return Saved(saved.get("document"), confirmed, float(refresh))

    def changed(self) -> float:
        """When what is saved was last confirmed, 0 when there is nothing."""
        return _time_of(self._path)

    def save(self, document: Any, refresh: float) -> bool:
        """Keep a document, confirmed now. False when it cannot be written."""
        raw = json.dumps({"url": self._url, "refresh": refresh, "document": document}).encode()
        try:
            write_private(self._path, raw).replace(self._path)
        except OSError as error:
            _log.warning("issuer %s: keys not saved: %s", self._name, error)
            self._mark(0.0)
            return False
        self._mark(None)
        return True

    def confirm(self) -> None:
        """The saved document was just fetched again."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def _mark(self, when: float | None) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.utime(self._fd, None if when is None else (when, when))

    def want(self) -> None:
        """Tell the process that fetches of an unknown key id."""
        with contextlib.suppress(OSError):
            self._want.touch(0o600)

    def wanted(self) -> float:
        """When another process last met an unknown key id, 0 for never."""
        return _time_of(self._want)


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
