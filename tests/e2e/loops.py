"""People who ask for one thing without a pause, and how late they got what is over."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from tests.e2e.client import TRIES
from tests.e2e.gateway import wait_until
from tests.e2e.pauses import pauses
from tests.pace import TIGHT

if TYPE_CHECKING:
    from tests.e2e.lease_gateway import LeaseGateway

LATE = 0.1 if TIGHT else 0.4
"""Seconds after a command that a request may still get the verdict of before."""
FLAG_LATE = 0.3 if TIGHT else 0.6
"""The same for what the analysis finds."""
GONE_LATE = 0.2 if TIGHT else 0.5
"""The same for a server that is gone or hangs."""
ON_SECONDS = 0.7
"""So long the loops go on."""


class Sample(NamedTuple):
    """One answer: when its request began and when it came (monotonic seconds), and what it says. server, passport:
    of the upstream that answered, and what it was sent."""

    begun: float
    ended: float
    status: int
    reason: str
    fallback: str
    server: str
    passport: str
    seen: list[list[str]]

    @property
    def told(self) -> tuple[int, str, str, str]:
        """What may not differ from one request of a user to the next."""
        return self.status, self.reason, self.fallback, self.server


class Person:
    """Somebody with a token, an address and an app of his own; one connection to Kong, as long as that lasts."""

    def __init__(self, gateway: LeaseGateway, name: str, address: str, **claims: Any) -> None:
        self.name, self.address, self.agent = name, address, f"app-{name}"
        self.token_id = f"jti-{name}"
        self._gateway, self._claims = gateway, claims
        self.renew(self.token_id)
        self._connection: http.client.HTTPConnection | None = None

    def renew(self, token_id: str) -> None:
        """Take another token."""
        self.token_id = token_id
        self.token = self._gateway.auth.token(self.name, jti=token_id, **self._claims)

    def __call__(
        self, path: str, method: str = "GET", headers: list[tuple[str, str]] | None = None
    ) -> Sample:
        """headers: beside his own, or in place of those with the same name."""
        own = {"Authorization": f"Bearer {self.token}", "User-Agent": self.agent, "Host": "shop.example"}
        if self._gateway.is_proxied:
            own["X-Forwarded-For"] = self.address
        for name in {name for name, _ in headers or []}:
            own.pop(name, None)
        for again in (False, True):
            begun = time.monotonic()
            try:
                return self._send(begun, path, method, [*own.items(), *(headers or [])])
            except (OSError, http.client.HTTPException):
                self.close()
                if again:
                    raise
        raise AssertionError("not reached")

    def _send(self, begun: float, path: str, method: str, headers: list[tuple[str, str]]) -> Sample:
        connection = self._connection
        if connection is None:
            parts = urlsplit(self._gateway.proxy)
            source = "127.0.0.1" if self._gateway.is_proxied else self.address
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, 20, (source, 0))
            self._connection = connection
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode("latin-1"))
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        ended = time.monotonic()
        told: Any = {}
        if "json" in answer.headers.get("content-type", "") and body:
            told = json.loads(body)
        seen = told.get("headers", [])
        passports = [value for key, value in seen if key.lower().replace("_", "-") == "x-passport"]
        return Sample(begun, ended, answer.status, told.get("reason", ""), answer.headers.get("x-fallback", ""),
                      told.get("server", ""), ",".join(passports), seen)  # fmt: skip

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Loop:
    """A person who asks again and again until the block ends; `samples` is what he got."""

    def __init__(
        self, person: Person, path: str, vary: bool = False, method: str = "GET", pause: float = 0.0
    ) -> None:
        """vary: each request has a token of its own: for none of them there is a lease."""
        self._person, self._path, self._vary, self._method = person, path, vary, method
        self._pause = pause
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self.samples: list[Sample] = []

    def _ask(self) -> None:
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                if self._vary:
                    self._person.renew(str(number))
                self.samples.append(self._person(self._path, self._method))
                time.sleep(self._pause)
        except Exception as error:  # noqa: BLE001 - raised when the block ends
            self._failure = error

    def __enter__(self) -> Loop:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure

    def since(self, moment: float) -> list[Sample]:
        """Of requests that began later than that."""
        return [each for each in self.samples if each.begun > moment]


def warm(given: LeaseGateway, loop: Loop) -> None:
    """Return when the loop's requests are leased, and some have been answered so."""
    before = given.leased()
    wait_until(lambda: given.leased() > before + 5, 8, "the verdict has a lease")
    assert loop.samples, "somebody was answered"


def late(loop: Loop, end: float, is_old: Callable[[Sample], bool]) -> float:
    """How long after `end` the last request began that got the old verdict; 0 for none."""
    return max((each.begun - end for each in loop.since(end) if is_old(each)), default=0.0)


def measured(given: LeaseGateway, try_it: Callable[[], float], limit: float) -> None:
    """Holds what `try_it` gives to a limit in seconds; once more where the machine stood still meanwhile."""
    for _ in range(TRIES):
        begun = time.monotonic()
        found = try_it()
        if found <= limit or not pauses().since(begun):
            break
    print(f"late: {found * 1000:.0f} ms")  # -s shows it
    assert found <= limit, f"the old verdict {found:.3f} s after"


def closes(path: str, who: Person) -> None:
    """Wait until a breaker is closed, not half open: that lets five through and holds the others back."""
    wait_until(lambda: all(who(path).fallback == "" for _ in range(20)), 20, "the breaker is closed")
