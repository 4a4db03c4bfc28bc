"""Requests against a limit, and between which bounds their number may be.

A limit admits burst + rate x time, and the time is known within bounds however slow the machine is: so nothing has to
be tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.e2e.client import Answer


class Run(NamedTuple):
    """What became of many requests. A request without a verdict (`lost`) may have been counted, and was not served.

    least, most: seconds in which the limit counted for certain, and that passed in all.
    """

    admitted: int
    refused: int
    lost: int
    least: float
    most: float


class Sent(NamedTuple):
    """One request: when it was sent and answered (monotonic seconds)."""

    begun: float
    ended: float
    status: int


def ran(sent: Sequence[Sent]) -> Run:
    """Sums up; the last moment that certainly counts is that at which a refused request was sent: then nothing was
    left of the limit."""
    by = {status: sum(each.status == status for each in sent) for status in (200, 429)}
    first = min(each.ended for each in sent)
    last = max((each.begun for each in sent if each.status == 429), default=first)
    most = max(each.ended for each in sent) - min(each.begun for each in sent)
    return Run(by[200], by[429], len(sent) - sum(by.values()), max(0.0, last - first), most)


Ask = Callable[[], Answer]
"""Sends a request."""


def at_once(asks: Sequence[Ask], count: int) -> Run:
    """So many requests, eight at a time, by each of `asks` in turn."""
    with ThreadPoolExecutor(8) as pool:
        return ran(list(pool.map(lambda number: _sent(asks[number % len(asks)]), range(count))))


def for_seconds(asks: Sequence[Ask], seconds: float) -> Run:
    """As many requests as eight clients get answered, for so long and until each is refused."""
    until = time.monotonic() + seconds

    def client(number: int) -> list[Sent]:
        found: list[Sent] = []
        while time.monotonic() < until or (found[-1].status != 429 and time.monotonic() < until + 10):
            found.append(_sent(asks[(number + len(found)) % len(asks)]))
        return found

    with ThreadPoolExecutor(8) as pool:
        return ran([each for found in pool.map(client, range(8)) for each in found])


def _sent(ask: Ask) -> Sent:
    begun = time.monotonic()
    status = ask().status
    return Sent(begun, time.monotonic(), status)
