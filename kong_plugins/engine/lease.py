"""Leases: how long a verdict stands for requests that are alike, so that the adapter need not ask for each of them.

Alike are requests of one route that agree in all facts but the path, their id and their trace. Each plugin that a
chain runs says in its `lease.py` for how long what it has just decided stands for these, while the control state
is the same; the server takes leases back when that changes (server/leases.py). After C. Gray and D. Cheriton,
"Leases: an efficient fault-tolerant mechanism for distributed file cache consistency" (1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Condition(NamedTuple):
    """What must go on being so and is not part of the control state. name: tells conditions apart; holds: of the
    filters' State and Unix time in seconds."""

    name: str
    holds: Callable[[Any, float], bool]


class Lease(NamedTuple):
    """seconds: 0 for a verdict that stands for its own request alone."""

    seconds: float
    conditions: tuple[Condition, ...] = ()


NONE = Lease(0.0)
UNBOUNDED = Lease(math.inf)
"""As long as the control state is the same."""


def together(leases: Iterable[Lease]) -> Lease:
    """The lease of a verdict that several plugins made: as long as the shortest of them."""
    seconds = math.inf
    conditions: list[Condition] = []
    for lease in leases:
        if lease.seconds <= 0:
            return NONE
        seconds = min(seconds, lease.seconds)
        conditions += lease.conditions
    return Lease(seconds, tuple(conditions))
