"""Control state as the filters see it: one immutable snapshot, and the view given to a decision.

The stores (memory, Redis) are in their own modules behind `ControlStore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from kong_plugins.identity.trust import Trust


class Block(NamedTuple):
    """One block: `kind` is ip or cidr, `value` its canonical text. Times are Unix seconds;
    `expires` is None for a block without end."""

    kind: str
    value: str
    reason: str
    actor: str
    created: float
    expires: float | None = None


class CanaryOverride(NamedTuple):
    """What an operator set over the configured plan of one canary; None keeps the plan's value.

    percent is 0..100; paused sends everybody to the control group. version counts changes.
    """

    name: str
    percent: float | None = None
    users: frozenset[str] | None = None
    paused: bool = False
    version: int = 1
    actor: str = ""
    changed: float = 0.0


class BlockIndex(Protocol):
    """Answers which block covers an address."""

    def match(self, ip: str, now: float) -> Block | None:
        """The block of `ip` (canonical text) that has not expired at `now`, if any."""
        ...

    def __len__(self) -> int: ...


class Snapshot(NamedTuple):
    """The whole control state at one version. Never changed, only replaced."""

    version: int
    blocks: BlockIndex
    canaries: Mapping[str, CanaryOverride]


class State(NamedTuple):
    """What a decision may read. `answers` holds replies to earlier asks of this request, by key."""

    snapshot: Snapshot
    trust: Trust
    answers: Mapping[str, Any] = {}  # noqa: RUF012 - a default that nobody writes to
