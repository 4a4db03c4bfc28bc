"""Targets of single rules that have no healthy peer: their users get control for a moment, then one tries again.

A canary without a target is given up (analyst.py). A rule's own upstream - a lab, a test environment - is not the
canary, so only that rule pauses, on each node for itself, in the memory that all processes of the node share.
"""

from __future__ import annotations

from functools import lru_cache

from kong_plugins.state.cells import Cells
from kong_plugins.state.flags import Flags

SECONDS = 10.0
_NS = 1_000_000_000


@lru_cache(maxsize=4)
def _flags(cells: Cells) -> Flags:
    return Flags(cells.memory)


def is_away(cells: Cells | None, arm: str, now: float) -> bool:
    """Whether the upstream of an arm ("NAME=RULE") was found without a target just now."""
    return cells is not None and _flags(cells).get(f"c {arm}", int(now * _NS)) != 0


def set_away(cells: Cells, arm: str, now: float) -> None:
    """Its users get control for SECONDS."""
    _flags(cells).set(f"c {arm}", 1, int((now + SECONDS) * _NS), int(now * _NS))
