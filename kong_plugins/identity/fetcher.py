"""Fetch an issuer's JWKS in the background and keep the last good one.

A failed or garbage answer never removes keys; only a good document replaces them, at once and whole. Keys that
the issuer has not confirmed for `stale_if_error` seconds are given up. What is saved lets a restart during an outage
of the issuer work, and lets one process fetch for all of a node (sharing.py). Nothing here runs on the request
path: `want` only wakes the thread.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kong_plugins.identity import http_get, strict_json
from kong_plugins.identity.issuers import Issuer
from kong_plugins.identity.jwks import KeySet, parse_jwks
from kong_plugins.identity.sharing import Shelf

COOLDOWN = 30.0
"""Least seconds between two fetches that unknown key ids ask for: strangers choose those."""
FIRST_RETRY = 1.0
JITTER = 0.1
"""Part of each wait that is random, so that many gateways do not ask at once."""
LEAST_REFRESH, MOST_REFRESH = 60.0, 3600.0
"""Bounds of what Cache-Control may ask for; the issuer's own `refresh` widens them."""
LOOK_SECONDS, FIRST_LOOK_SECONDS = 1.0, 0.05
"""How often a process looks at what another one of the node saved or wants; and one that has no keys yet."""

_MAX_AGE = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?([0-9]{1,9})\"?\s*(?:,|$)", re.I)
_NOT_KEPT = re.compile(r"(?:^|,)\s*(?:no-store|no-cache)\s*(?:,|$|=)", re.I)

_log = logging.getLogger(__name__)


def refresh_after(headers: Mapping[str, str], refresh: float) -> float:
    """Seconds until the next fetch: Cache-Control's max-age less Age (RFC 9111, section 4.2), within bounds."""
    least, most = min(refresh, LEAST_REFRESH), max(refresh, MOST_REFRESH)
    control = headers.get("cache-control", "")
    if _NOT_KEPT.search(control):
        return least
    found = _MAX_AGE.search(control)
    if found is None:
        return refresh
    age = headers.get("age", "0").strip()
    fresh = int(found[1]) - (int(age) if age.isascii() and age.isdigit() and len(age) < 10 else 0)
    return max(least, min(most, float(fresh)))


class JwksFetcher:
    """Keeps the keys of one issuer fresh. `publish(name, keys)` is called for every change of them, with None when
    they were given up.

    cooldown is seconds; clock is Unix time, for what is saved. `poll` is the whole logic and takes the time
    as an argument; `start` runs it in a daemon thread.
    """

    def __init__(
        self,
        issuer: Issuer,
        publish: Callable[[str, KeySet | None], None],
        *,
        cooldown: float = COOLDOWN,
        cache_dir: Path | None = None,
        fetch: Callable[[str], http_get.Answer] = http_get.fetch,
        jitter: Callable[[float, float], float] = random.uniform,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._publish = publish
        self._wait = issuer.refresh
        self._cooldown = cooldown
        self._shelf = Shelf(cache_dir, issuer.name, issuer.jwks_url) if cache_dir else None
        self._fetch = fetch
        self._jitter = jitter
        self._clock = clock
        self._fingerprint = ""
        self._due = 0.0
        self._failures = 0
        self._asked_at = float("-inf")
        self._wanted = False
        self._others_wanted = self._shelf.wanted() if self._shelf else 0.0
        self._read_at = -1.0
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.confirmed: float | None = None
        """When the issuer last confirmed the keys, in Unix seconds."""
        self.last_error = ""
        self._good = self._bad = 0
        self._told = (0, 0)

    def take_counts(self, now: float) -> tuple[float, int, int]:
        """Seconds since the keys were confirmed (-1: never), and fetches of this process that went well and that
        failed since the last call. now is Unix time."""
        good, bad = self._good, self._bad
        before, self._told = self._told, (good, bad)
        age = -1.0 if self.confirmed is None else max(0.0, now - self.confirmed)
        return age, good - before[0], bad - before[1]

    @property
    def is_stale(self) -> bool:
        """Whether the issuer should have confirmed the keys again and has not."""
        late = 2 * self._wait + FIRST_RETRY
        return (
            bool(self._fingerprint) and self.confirmed is not None and self._clock() > self.confirmed + late
        )

    def restore(self) -> bool:
        """Take the keys that were saved, if they are not too old. Call before `start`."""
        if self._shelf is None:
            return False
        self._read_at = self._shelf.changed()
        saved = self._shelf.read()
        if saved is None or self._clock() - saved.confirmed > self._issuer.stale_if_error:
            return False
        try:
            self._take(saved.document)
        except ValueError as error:
            _log.warning("issuer %s: saved keys not used: %s", self._issuer.name, error)
            return False
        self.confirmed, self._wait = saved.confirmed, saved.refresh
        return True

    def want(self, kid: str) -> None:
        """A token named a key that is not known. Cheap; asks for one fetch within the cooldown."""
        if not self._wanted:
            self._wanted = True
            self._wake.set()

    def poll(self, now: float) -> float:
        """Fetch if it is time to. now is monotonic seconds. Returns when to poll again at the latest."""
        due = self._lead(now) if self._shelf is None or self._shelf.lead() else self._follow(now)
        if (
            self._fingerprint
            and self.confirmed is not None
            and self._clock() - self.confirmed > self._issuer.stale_if_error
        ):
            _log.error("issuer %s: its keys were not confirmed for too long: given up", self._issuer.name)
            self._fingerprint = ""
            self._publish(self._issuer.name, None)
        return due

    def _lead(self, now: float) -> float:
        if self._shelf is not None:
            others = self._shelf.wanted()
            if others > self._others_wanted:
                self._others_wanted, self._wanted = others, True
        if self._wanted and now >= self._asked_at + self._cooldown:
            self._asked_at = now
            self._fetch_once(now)
        elif now >= self._due:
            self._fetch_once(now)
        return min(self._due, self._asked_at + self._cooldown) if self._wanted else self._due

    def _follow(self, now: float) -> float:
        """Another process of this node fetches: pass the wish on, take what it saved."""
        assert self._shelf is not None
        if self._wanted:
            self._wanted = False
            self._shelf.want()
        if self._shelf.changed() != self._read_at:
            self.restore()
        self._due = now  # were this process to lead from now on, it would fetch at once
        return now + (LOOK_SECONDS if self._fingerprint else FIRST_LOOK_SECONDS)

    def _fetch_once(self, now: float) -> None:
        self._wanted = False
        try:
            answer = self._fetch(self._issuer.jwks_url)
            document = strict_json.loads(answer.body)
            changed = self._take(document)
        except (http_get.FetchError, ValueError) as error:
            self.last_error = str(error)
            self._bad += 1
            wait = min(FIRST_RETRY * 2 ** min(self._failures, 16), self._cooldown, self._issuer.refresh)
            self._failures += 1
            _log.warning("issuer %s: %s: %s", self._issuer.name, self._issuer.jwks_url, error)
        else:
            self.last_error = ""
            self._good += 1
            self.confirmed = self._clock()
            self._failures = 0
            before, wait = self._wait, refresh_after(answer.headers, self._issuer.refresh)
            self._wait = wait
            if self._shelf is not None:
                if changed or wait != before or not self._shelf.changed():
                    self._shelf.save(document, wait)
                else:
                    self._shelf.confirm()
        self._due = now + wait * self._jitter(1 - JITTER, 1 + JITTER)

    def _take(self, document: Any) -> bool:
        keys = parse_jwks(document, self._issuer.algorithms)
        if keys.fingerprint == self._fingerprint:
            return False
        self._fingerprint = keys.fingerprint
        self._publish(self._issuer.name, keys)
        return True

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
        if self._shelf is not None:
            self._shelf.release()

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
                wait = max(0.0, due - time.monotonic())
                # with others in the node there are their wishes to look for
                self._wake.wait(wait if self._shelf is None else min(wait, LOOK_SECONDS))
