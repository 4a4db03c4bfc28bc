"""A scenario as it is parsed (scenario_config.py): what is counted of whom, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kong_plugins.abuse_guard.limit_config import DAY

MAX_DISTINCT = 512
"""Different values that one group remembers: more than any capacity of them."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. Times are seconds, leak is per second (0 for a counter). id is a hash of all that it says:
    equal scenarios of several configs count together."""

    name: str
    id: str = ""
    paths: tuple[str, ...] = ()
    path_parts: tuple[str, ...] = ()
    methods: frozenset[str] = frozenset()
    without_agent: bool = False
    agents: tuple[str, ...] = ()
    statuses: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    group_by: tuple[str, ...] = ("ip",)
    distinct: str = ""
    capacity: int = 20
    leak: float = 1.0
    window: float = 0.0
    relief: float = 0.0
    then: tuple[str, ...] = ("notify",)
    ttl: float = 600.0
    max_ttl: float = DAY
    factor: float = 2.0
    score: int = 50
    limit_rate: float = 1.0
    simulate: bool = False

    def fits_answer(self, status: str, reason: str) -> bool:
        """Whether an answer is one that it counts."""
        if self.statuses and status not in self.statuses and f"{status[:1]}xx" not in self.statuses:
            return False
        return not self.reasons or reason in self.reasons


@dataclass(frozen=True, slots=True)
class Scenarios:
    """All scenarios of a config. tag is their common hash; `word(path, method, agent)` is what of a request they
    need to know, as a word of the memo (trace.py), "" for nothing. sees_all: that is never nothing."""

    items: tuple[Scenario, ...]
    tag: str
    word: Callable[[str, str, str], str]
    wants_user: bool = False
    wants_token: bool = False
    sees_all: bool = False
