"""What an analyst made of somebody and what still holds: the next finding adds to it and takes nothing away.

Marks add up, over scenarios and nodes. Of several blocks of one target the longest stands: the requests that were
under way when the first was made may overflow another scenario, whose block would end sooner.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from kong_plugins.abuse_guard.scenario import Scenario
from kong_plugins.state.marks import MAX_REASONS, Mark

UNDER_WAY_SECONDS = 30.0
"""So long after a block come outcomes of requests from before it."""


class _Block(NamedTuple):
    made: float
    end: float


class Held:
    """limit: so many marks, and so many blocks, the oldest of which are forgotten. Times are Unix seconds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        self._blocks: OrderedDict[str, _Block] = OrderedDict()

    def mark(
        self, scenario: Scenario, target: str, ttl: float, slow: bool, seen: Mark | None, now: float
    ) -> Mark:
        """The mark that a finding makes of what there is.

        seen: that of the control state, which another node may have made; slow: it limits.
        """
        own = self._marks.pop(target, None)
        live = [
            one for one in (own, seen) if one is not None and one.expires is not None and one.expires > now
        ]
        score, limit, end = scenario.score, scenario.limit_rate if slow else 0.0, now + ttl
        reasons: tuple[str, ...] = (scenario.name,)
        if live:
            old = max(live, key=lambda one: one.score)
            score = min(100, score + old.score) if scenario.name not in old.reasons else max(score, old.score)
            limit = min(filter(None, (limit, *(one.limit for one in live))), default=0.0)
            end = max(end, *(one.expires or 0.0 for one in live))
            known = (reason for one in reversed(live) for reason in one.reasons)
            reasons = tuple(dict.fromkeys((*known, scenario.name)))[-MAX_REASONS:]
        if len(self._marks) >= self._limit:
            self._marks.popitem(last=False)
        made = self._marks[target] = Mark(target, score, reasons, limit, end)
        return made

    def blocks(self, target: str, end: float, now: float) -> bool:
        """Whether a block of this target that was made just now lasts as long."""
        held = self._blocks.get(target)
        return held is not None and now - held.made < UNDER_WAY_SECONDS and held.end >= end

    def block(self, target: str, end: float, now: float) -> None:
        """A block is made."""
        if self._blocks.pop(target, None) is None and len(self._blocks) >= self._limit:
            self._blocks.popitem(last=False)
        self._blocks[target] = _Block(now, end)
