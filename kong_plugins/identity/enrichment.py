"""More of a user than the token says, asked of the issuer in the background.

    first request of a token       nothing is known: the passport is made of the token alone (token_only); with
                                   wait_ms the shell gives the question so much time and decides again
    an answer is there             its claims add to the token's (full)
    ttl is over                    the old answer serves while a new one is asked for
    stale_for is over, too         as at first; until then with no new answer the level is stale

The request path looks into one dictionary. Threads ask; a breaker keeps them from asking an issuer that is away, and
a token that the issuer calls inactive is refused from then on (RFC 7662, section 2.2).
"""

from __future__ import annotations

import base64
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote_plus, urlencode

from kong_plugins.engine.facts import Identity
from kong_plugins.identity import http_get, strict_json
from kong_plugins.identity.cache import BoundedCache
from kong_plugins.identity.enrich_config import Enrich

CACHED = 5_000
MOST_WAITING = 1_000
"""Tokens that wait for a question; more are not asked for now."""
MAX_BYTES = 65_536
FAILURES = 5
"""Failures in a row that open the breaker."""
OPEN_SECONDS = 10.0
NO_ANSWER_SECONDS = 5.0
"""A token that was asked for in vain is not asked for again so soon."""

_log = logging.getLogger(__name__)


class TokenInactive(Exception):
    """The issuer says that the token is not active (any more)."""


class _Known(NamedTuple):
    """claims is None: asked and not (yet) answered. at: when, Unix seconds. since: of the last good answer.
    pending: the question is on its way, and waiting for it may help."""

    at: float
    claims: dict[str, Any] | None = None
    active: bool = True
    since: float = 0.0
    pending: bool = False


class Counts:
    """What became of the questions; written by the threads, read by the one that tells metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, int] = {}

    def add(self, result: str) -> None:
        """result: good | unknown | inactive | failed | skipped (the breaker is open, or too many wait)."""
        with self._lock:
            self._found[result] = self._found.get(result, 0) + 1

    def take(self) -> dict[str, int]:
        """What was counted since the last time."""
        with self._lock:
            found, self._found = self._found, {}
        return found


class Breaker:
    """Opens after FAILURES in a row; one probe each OPEN_SECONDS. Times are monotonic seconds. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._next = 0.0

    def allow(self, now: float) -> bool:
        """Whether to ask now."""
        with self._lock:
            if self._failures < FAILURES:
                return True
            if now < self._next:
                return False
            self._next = now + OPEN_SECONDS  # one probe
            return True

    def good(self) -> None:
        with self._lock:
            self._failures = 0

    def bad(self, now: float) -> None:
        with self._lock:
            self._failures += 1
            self._next = now + OPEN_SECONDS

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES


class Enricher:
    """Answers of one issuer, by the token's digest. `of` is for the request path, by one thread."""

    def __init__(
        self,
        name: str,
        config: Enrich,
        *,
        fetch: Callable[..., http_get.Answer] = http_get.fetch,
        clock: Callable[[], float] = time.time,
        cached: int = CACHED,
        threads: int = 2,
    ) -> None:
        self.name, self._config = name, config
        self._fetch, self._clock = fetch, clock
        self._known: BoundedCache[bytes, _Known] = BoundedCache(cached)
        self._merged: BoundedCache[bytes, tuple[Identity, _Known | None, str, Identity]] = BoundedCache(
            cached
        )
        self._waiting: queue.Queue[tuple[bytes, str] | None] = queue.Queue(MOST_WAITING)
        self._answers: queue.SimpleQueue[tuple[bytes, _Known | None]] = queue.SimpleQueue()
        self._wait = config.wait_ms / 1000
        self.answered: Callable[[bytes], None] = lambda _digest: None
        """Called in a thread with the token's digest after each question, whatever came of it."""
        self.counts = Counts()
        self.breaker = Breaker()
        self._threads = [
            threading.Thread(target=self._run, name=f"enrich-{name}", daemon=True) for _ in range(threads)
        ]
        self._started = False

    def of(self, digest: bytes, token: str, identity: Identity, now: float) -> Identity:
        """The identity with what is known of it, and its level. Asks in the background for what is not.

        now is Unix time. Raises TokenInactive.
        """
        if not self._answers.empty():
            self._take_answers()
        known = self._known.get(digest)
        config = self._config
        if known is None or now - known.at >= (config.ttl if known.claims is not None else NO_ANSWER_SECONDS):
            known = self._ask(digest, token, known, now)
        if not known.active:
            raise TokenInactive
        age = now - known.since
        usable = known.claims is not None and age < config.ttl + config.stale_for
        level = "token_only" if not usable else "full" if age < config.ttl + config.timeout else "stale"
        kept = self._merged.get(digest)
        if kept is not None and kept[0] is identity and kept[1] is known and kept[2] == level:
            return kept[3]
        extra = known.claims if usable and known.claims else {}
        made = identity._replace(claims={**extra, **identity.claims}, level=level)
        self._merged.put(digest, (identity, known, level, made))
        return made

    def _take_answers(self) -> None:
        while not self._answers.empty():
            digest, found = self._answers.get_nowait()
            if found is None:  # asked in vain: what was known before stays
                before = self._known.get(digest)
                found = None if before is None else before._replace(pending=False)
            if found is not None:
                self._known.put(digest, found)

    def wait_for(self, digest: bytes, now: float) -> float:
        """Seconds that a request of this token should wait for the answer that is on its way; 0: go on with what is
        known. now is Unix time. Call after `of`."""
        if not self._wait or self.breaker.is_open:
            return 0.0
        known = self._known.get(digest)
        if known is None or not known.pending:
            return 0.0
        # a second request of the token waits no longer than the first; a clock that was set back counts as none
        return min(self._wait, known.at + self._wait - now) if now >= known.at else 0.0

    def _ask(self, digest: bytes, token: str, known: _Known | None, now: float) -> _Known:
        # what is noted keeps the next requests of this token from asking as well
        noted = _Known(now) if known is None else known._replace(at=now)
        if noted.claims is None and self._started:
            noted = noted._replace(pending=True)
        if known is not None and known.claims is not None:
            # asked again no earlier than after a short while, the old answer serves meanwhile
            noted = noted._replace(at=now - self._config.ttl + NO_ANSWER_SECONDS)
        self._known.put(digest, noted)
        if self._started:
            try:
                self._waiting.put_nowait((digest, token))
            except queue.Full:
                self.counts.add("skipped")
                noted = noted._replace(pending=False)
                self._known.put(digest, noted)
        return noted

    def start(self) -> None:
        """Begin to ask, in daemon threads."""
        self._started = True
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads. One that is in the middle of a question is left to end by itself."""
        if not self._started:
            return
        self._started = False
        while not self._waiting.empty():
            try:
                self._waiting.get_nowait()
            except queue.Empty:
                break
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(0.2)

    def _run(self) -> None:
        while True:
            wanted = self._waiting.get()
            if wanted is None:
                return
            try:
                self.ask_now(*wanted, time.monotonic())
            except Exception:  # noqa: BLE001 - were the thread to end, nobody would ask any more
                _log.exception("issuer %s: enrichment failed", self.name)
            self.answered(wanted[0])

    def ask_now(self, digest: bytes, token: str, now: float) -> None:
        """Ask for one token, if the breaker lets. now is monotonic seconds."""
        if not self.breaker.allow(now):
            self.counts.add("skipped")
            self._answers.put((digest, None))
            return
        try:
            claims, active = self._question(token)
        except http_get.FetchError as error:
            if error.status in (400, 401, 403, 404):
                # the issuer is there, and does not know this token or this user: nothing to add
                self.breaker.good()
                self.counts.add("unknown")
                self._answers.put((digest, _Known(self._clock(), {}, True, float("-inf"))))
                return
            self._failed(error, now)
            self._answers.put((digest, None))
        except ValueError as error:
            self._failed(error, now)
            self._answers.put((digest, None))
        else:
            self.breaker.good()
            self.counts.add("good" if active else "inactive")
            at = self._clock()
            self._answers.put((digest, _Known(at, claims, active, at)))

    def _failed(self, error: Exception, now: float) -> None:
        was = self.breaker.is_open
        self.counts.add("failed")
        self.breaker.bad(now)
        if self.breaker.is_open and not was:
            _log.warning("issuer %s: enrichment is away: %s; passports say so", self.name, error)

    def _question(self, token: str) -> tuple[dict[str, Any], bool]:
        """Claims, and whether the token is active. Raises FetchError and ValueError."""
        config = self._config
        if config.kind == "userinfo":
            headers, form = {"Authorization": f"Bearer {token}"}, None
        else:
            headers, form = {}, urlencode({"token": token, "token_type_hint": "access_token"}).encode()
            if config.client_id:
                # RFC 6749, section 2.3.1: both are form-encoded first
                pair = f"{quote_plus(config.client_id)}:{quote_plus(config.client_secret)}"
                headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        answer = self._fetch(config.url, config.timeout, MAX_BYTES, headers, form)
        found = strict_json.loads(answer.body)
        if not isinstance(found, dict):
            raise ValueError("the answer is not a JSON object")
        if config.kind == "introspection" and found.get("active") is not True:
            if found.get("active") is False:
                return {}, False
            raise ValueError("the answer does not say whether the token is active")
        return {name: found[name] for name in config.claims if name in found}, True
