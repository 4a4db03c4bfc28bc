"""Analysts: what is concluded from the outcomes of many requests, in one process per node.

A filter judges one request; an analyst sees what became of all of them, over all workers of the node, and
concludes: block this address, open that breaker, abort this canary. Pure like the filters: outcomes and the time
go in, conclusions come out; the process around it (kong_plugins/server) writes them into the control state, where
filters see them, and into the events, where operators do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kong_plugins.engine.outcome import Outcome


class Conclusion(NamedTuple):
    """One record of the control state to set (or, with data None, to remove), and the event that tells of it.

    collection and key are those of kong_plugins/state/collections.py; ttl is seconds or None. kind names the
    event ("breaker.open"), reason is for people, numbers are what caused it. A conclusion without a
    collection is an event alone.
    """

    kind: str
    subject: str
    reason: str
    numbers: Mapping[str, Any] = {}
    collection: str = ""
    key: str = ""
    data: Mapping[str, Any] | None = None
    ttl: float | None = None


class Analyst(Protocol):
    """One plugin's analyst. Called in one thread; never blocks.

    It may have more: `see(snapshot, now)` for a new control state, `levels()` for gauges, and `keep()` (what
    MessagePack can carry) with `resume(kept, now)`, called once after `configure`, to go on where the process before
    it stood.
    """

    def configure(self, configs: Sequence[Any]) -> None:
        """All parsed configs of the plugin that Kong has started, whenever one is added or forgotten."""
        ...

    def concerned(self, kind: Outcome) -> bool:
        """Whether it is to be given outcomes that are like this one but for the time they took and the address."""
        ...

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        """What follows from these outcomes. now: Unix seconds."""
        ...

    def tick(self, now: float) -> list[Conclusion]:
        """What follows from the passing of time; called about ten times a second."""
        ...

    def merge(self, node: str, told: Mapping[str, Any], now: float) -> list[Conclusion]:
        """What another node tells of its counts (the `tell` of its analyst)."""
        ...

    def tell(self, now: float) -> Mapping[str, Any] | None:
        """Counts for the other nodes, small; None when there is nothing new."""
        ...
