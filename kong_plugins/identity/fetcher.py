"""Fetch an issuer's JWKS in the background and keep the last good one.

A failed or garbage answer never removes keys; only a good document replaces them, at once and whole. A
saved copy lets a restart during an outage of the issuer work. Nothing here runs on the request path:
`want` only wakes the thread.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kong_plugins.identity import http_get, strict_json
from kong_plugins.identity.files import read_own, write_private
from kong_plugins.identity.issuers import Issuer
from kong_plugins.identity.jwks import KeySet, parse_jwks

COOLDOWN = 30.0
"""Least seconds between two fetches that unknown key ids ask for: strangers choose those."""
FIRST_RETRY = 1.0
JITTER = 0.1
"""Part of each wait that is random, so that many gateways do not ask at once."""

_log = logging.getLogger(__name__)


class JwksFetcher:
    """Keeps the keys of one issuer fresh. `publish(name, keys)` is called for every change of them.

    cooldown is seconds. `poll` is the whole logic and takes the time as an argument;
    `start` runs it in a daemon thread.
    """

    def __init__(
        self,
        issuer: Issuer,
        publish: Callable[[str, KeySet], None],
        *,
        cooldown: float = COOLDOWN,
        cache_dir: Path | None = None,
        fetch: Callable[[str], bytes] = http_get.get,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._issuer = issuer
        self._publish = publish
        self._refresh = issuer.refresh
        self._cooldown = cooldown
        self._cache = cache_dir / f"{issuer.name}.jwks.json" if cache_dir else None
        self._fetch = fetch
        self._jitter = jitter
        self._fingerprint = ""
        self._due = 0.0
        self._failures = 0
        self._asked_at = float("-inf")
        self._wanted = False
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.last_good: float | None = None
        """When a good document last came, in the time of `poll`."""
        self.last_error = ""

    def restore(self) -> bool:
        """Take the keys that an earlier run saved, if any. Call before `start`."""
        if self._cache is None:
            return False
        try:
            saved = strict_json.loads(read_own(self._cache, 2 * http_get.MAX_BYTES))
            if not isinstance(saved, dict) or saved.get("url") != self._issuer.jwks_url:
                return False
            self._take(saved.get("document"))
        except (OSError, ValueError) as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("issuer %s: saved keys not used: %s", self._issuer.name, error)
            return False
        return True

    def want(self, kid: str) -> None:
        """A token named a key that is not known. Cheap; asks for one fetch within the cooldown."""
        if not self._wanted:
            self._wanted = True
            self._wake.set()

    def poll(self, now: float) -> float:
        """Fetch if it is time to. now is monotonic seconds. Returns when to poll again."""
        if self._wanted and now >= self._asked_at + self._cooldown:
            self._asked_at = now
            self._fetch_once(now)
        elif now >= self._due:
            self._fetch_once(now)
        return min(self._due, self._asked_at + self._cooldown) if self._wanted else self._due

    def _fetch_once(self, now: float) -> None:
        self._wanted = False
        try:
            document = strict_json.loads(self._fetch(self._issuer.jwks_url))
            changed = self._take(document)
        except (http_get.FetchError, ValueError) as error:
            self.last_error = str(error)
            wait = min(FIRST_RETRY * 2 ** min(self._failures, 16), self._cooldown, self._refresh)
            self._failures += 1
            _log.warning("issuer %s: %s: %s", self._issuer.name, self._issuer.jwks_url, error)
        else:
            self.last_error = ""
            self.last_good = now
            self._failures = 0
            wait = self._refresh
            if changed:
                self._save(document)
        self._due = now + wait * self._jitter(1 - JITTER, 1 + JITTER)

    def _take(self, document: Any) -> bool:
        keys = parse_jwks(document, self._issuer.algorithms)
        if keys.fingerprint == self._fingerprint:
            return False
        self._fingerprint = keys.fingerprint
        self._publish(self._issuer.name, keys)
        return True

    def _save(self, document: Any) -> None:
        if self._cache is None:
            return
        raw = json.dumps({"url": self._issuer.jwks_url, "document": document}).encode()
        try:
            write_private(self._cache, raw).replace(self._cache)
        except OSError as error:
            _log.warning("issuer %s: keys not saved: %s", self._issuer.name, error)

    def start(self) -> None:
        """Fetch now and keep fetching, in a daemon thread."""
        self._thread = threading.Thread(target=self._run, name=f"jwks-{self._issuer.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. One that is in the middle of a fetch is left to end by itself."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(0.5)

    def _run(self) -> None:
        while not self._stopping:
            # cleared before the look at `_wanted`, so that no wish is lost
            self._wake.clear()
            try:
                due = self.poll(time.monotonic())
            except Exception:  # noqa: BLE001 - were the thread to end, keys would never change again
                _log.exception("issuer %s: fetch failed", self._issuer.name)
                due = time.monotonic() + self._cooldown
            if not self._stopping:
                self._wake.wait(max(0.0, due - time.monotonic()))
