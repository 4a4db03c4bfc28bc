"""Benches that a busy machine may disturb."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bench.rounds import BenchError

T = TypeVar("T")


def again(measure: Callable[[], T], tries: int = 4) -> T:
    """What it measures; anew when the bench gave up: a server that the machine held up for 150 ms closes what waited,
    and the bench takes no figures of such a run."""
    for _ in range(tries - 1):
        try:
            return measure()
        except BenchError:
            pass
    return measure()
