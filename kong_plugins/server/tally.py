"""Counts of one worker between two reports to the supervisor. Plain dicts: this is on the path of each request."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict

BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05)
"""Upper bounds in seconds of the histogram of decisions; one more for what is slower."""

MAX_LABELS = 5_000
"""Distinct (tenant, route, plugin, reason) of one report; what is over counts as route "other"."""

Key = tuple[str, str, str, str]


class Tally:
    """Decisions by tenant, route, answering plugin and reason; their seconds; failures by reason."""

    def __init__(self) -> None:
        self.decisions = 0
        self.failures: dict[str, int] = {}
        self._verdicts: dict[Key, int] = {}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def add(self, facts: Facts, verdict: Verdict, seconds: float) -> None:
        """Count a decision. Labels are names of the configuration and ids of rules, never what clients send."""
        self.decisions += 1
        key = (facts.tenant, facts.route, verdict.plugin, verdict.reason)
        verdicts = self._verdicts
        if key in verdicts:
            verdicts[key] += 1
        elif len(verdicts) < MAX_LABELS:
            verdicts[key] = 1
        else:
            other = (facts.tenant, "other", verdict.plugin, verdict.reason)
            verdicts[other] = verdicts.get(other, 0) + 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def fail(self, reason: str) -> None:
        """Count a request without a verdict."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def report(self) -> dict[str, Any]:
        """What was counted since the last report."""
        told = {
            "verdicts": [[*key, count] for key, count in self._verdicts.items()],
            "failures": self.failures,
            "buckets": self._buckets,
            "seconds": self._seconds,
        }
        self.failures, self._verdicts = {}, {}
        self._buckets, self._seconds = [0] * (len(BUCKETS) + 1), 0.0
        return told
