"""Clients that ask for one thing again and again, and what went past the gate meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.e2e.client import Answer, Client
from tests.e2e.gateway import Gateway, token


class Told(NamedTuple):
    """One answer and when it came (monotonic seconds)."""

    at: float
    answer: Answer


class Load:
    """Asks until the block ends; `answers` has what each client got. A client without an answer fails the test."""

    def __init__(
        self, client: Client, clients: int = 6, path: str = "/secure/echo", pause: float = 0
    ) -> None:
        self._client, self._clients, self._path, self._pause = client, clients, path, pause
        self._stop = threading.Event()
        self.told: list[Told] = []

    def _ask(self) -> None:
        bearer = token()
        while not self._stop.is_set():
            answer = self._client.once(self._path, token=bearer)
            self.told.append(Told(time.monotonic(), answer))
            time.sleep(self._pause)

    def __enter__(self) -> Load:
        self._pool = ThreadPoolExecutor(self._clients)
        self._running = [self._pool.submit(self._ask) for _ in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._running:
            each.result(30)
        self._pool.shutdown()

    @property
    def answers(self) -> list[Answer]:
        return [each.answer for each in self.told]

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}

    def slowest(self) -> float:
        return max(answer.seconds for answer in self.answers)

    def served_again(self, since: float) -> float:
        """Seconds from `since` to the first answer of the service that was asked for after it."""
        good = [t.at for t in self.told if t.answer.status == 200 and t.at - t.answer.seconds >= since]
        return min(good) - since if good else float("inf")


def unverified(gateway: Gateway, since: int) -> int:
    """Requests to the protected routes that reached the upstream without a passport."""
    seen = gateway.upstreams["main"].seen[since:]
    return sum(1 for each in seen if not each.values("X-Passport"))
