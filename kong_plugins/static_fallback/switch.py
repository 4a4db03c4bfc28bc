"""The state of breakers and retry budgets in the memory that all processes of a node share.

The analysis writes, filters read: a flag per breaker. It ends by itself: where the analysis dies, an open breaker
goes on for a moment and then lets requests pass.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from kong_plugins.state.cells import Cells, Permit
from kong_plugins.state.flags import Flags

OPEN, HALF_OPEN = 1, 2
NS = 1_000_000_000
FAR = 24 * 3600 * NS


class Shown(NamedTuple):
    """What a filter sees: state is 0 (closed), OPEN or HALF_OPEN. at: Unix milliseconds when an open one ends, or
    when a half-open one began."""

    state: int
    at: int


@lru_cache(maxsize=4)
def flags_of(cells: Cells) -> Flags:
    """The flags in a process's cells."""
    return Flags(cells.memory)


def breaker_flag(watch_id: str, name: str) -> str:
    """The flag of a breaker; name: of the service or the route."""
    return f"b {watch_id} {name}"


def budget_flag(watch_id: str, service: str) -> str:
    """The flag of a retry budget that is used up."""
    return f"r {watch_id} {service}"


def look(cells: Cells, key: str, now_ns: int) -> Shown:
    """The state of a breaker."""
    value = flags_of(cells).get(key, now_ns)
    return Shown(value & 3, value >> 2)


def show(cells: Cells, key: str, state: int, at: int, until_ns: int, now_ns: int) -> bool:
    """Set the state of a breaker until a time; False when there was no room or no lock."""
    return flags_of(cells).set(key, at << 2 | state if state else 0, until_ns, now_ns)


def take(cells: Cells, key: str, began: int, permits: int, lease_ns: int, now_ns: int) -> Permit | None:
    """A permit of the half-open state that began then."""
    return cells.take(f"{key} {began}", permits, lease_ns, now_ns)


def settle(cells: Cells, key: str, began: int, permit: Permit, used: bool, now_ns: int) -> bool:
    """A trial's result is here: it stays used for the rest of this half-open state, or is free again."""
    return cells.settle(f"{key} {began}", permit, now_ns, now_ns + FAR if used else 0)
