"""The gateway's public keys for a long-running front server: fetched in the background, the last good set kept.

    keys = JwksSource("https://gateway.internal/.well-known/kgate-jwks.json")
    keys.start()
    app = PassportMiddleware(app, keys, "kgate")

The gateway publishes a key for longer than `refresh` before it signs with it, so a rotation is never noticed. While
the gateway cannot be asked, the keys of before stay.
"""

from __future__ import annotations

import json
import logging
import threading
import time  # noqa: TID251 - this runs in front servers
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from kong_plugins.verify.passport import PassportKeys

REFRESH = 120.0
RETRY = 5.0
TIMEOUT = 5.0
MAX_BYTES = 65_536

_log = logging.getLogger("kgate.verify")
_NOBODY = PassportKeys.empty()


class JwksSource:
    """Call it for the keys of now: PassportKeys, of which there are none before the first good answer.

    refresh is seconds between two fetches. start() fetches in a daemon thread; poll() once, for those with a
    scheduler of their own.
    """

    def __init__(
        self, url: str, *, refresh: float = REFRESH, fetch: Callable[[str], bytes] | None = None
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("url: expected an http:// or https:// URL")
        self._url, self._refresh = url, refresh
        self._fetch = fetch or _get
        self._keys = _NOBODY
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def __call__(self) -> PassportKeys:
        """The last good keys."""
        return self._keys

    def poll(self) -> bool:
        """Fetch once. False when there was no good answer; the keys stay then."""
        try:
            document: Mapping[str, Any] = json.loads(self._fetch(self._url))
            self._keys = PassportKeys(document)
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("%s: %s; the keys of before stay", self._url, error)
            return False
        return True

    def start(self, wait: float = TIMEOUT) -> None:
        """Begin to fetch; returns after the first answer, or after `wait` seconds."""
        first = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(first,), name="kgate-jwks", daemon=True)
        self._thread.start()
        first.wait(wait)

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(1)

    def _run(self, first: threading.Event) -> None:
        while not self._stopping:
            begun = time.monotonic()
            good = self.poll()
            first.set()
            wait = self._refresh if good else min(RETRY, self._refresh)
            self._wake.wait(max(0.0, wait - (time.monotonic() - begun)))


def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json"})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - checked
        return bytes(answer.read(MAX_BYTES))
