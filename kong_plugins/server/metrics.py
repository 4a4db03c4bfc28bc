"""What the node tells Prometheus: the workers' tallies and the outcomes, added up by the supervisor.

Labels are names of the configuration (tenant, route, plugin) and ids of rules; never users, addresses or paths. At
most MAX_SERIES label sets of requests are kept, the rest counts as route "other".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kong_plugins.server.columns import Kind
from kong_plugins.server.tally import BUCKETS
from kong_plugins.server.trust_metrics import TrustMetrics

MAX_SERIES = 20_000


def _text(name: str) -> str:
    """A name as text that can be written: one label with bytes of no text would be the end of all metrics."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


class _Decisions(Collector):
    """The histogram of decision seconds: the workers send buckets, not single values."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def collect(self) -> Iterable[Metric]:
        rows, total = [], 0
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self.buckets, strict=True):
            total += count
            rows.append((bound, total))
        family = HistogramMetricFamily(
            "kgate_decision_seconds", "Seconds that a decision of the whole chain took."
        )
        family.add_metric([], rows, self.seconds)
        yield family


class Metrics:
    """All metrics of one node."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        labels = ["tenant", "route", "plugin", "verdict", "reason"]
        self._requests = Counter(
            "kgate_requests",
            "Decided requests; plugin and reason say who answered.",
            labels,
            registry=registry,
        )
        self._fails = Counter(
            "kgate_fail_answers", "Requests without a verdict, by reason.", ["reason"], registry=registry
        )
        self._outcomes = Counter(
            "kgate_outcomes",
            "Answered requests by who made the answer (service, error, exit, kgate).",
            ["tenant", "route", "status", "source"],
            registry=registry,
        )
        self._leased = Counter(
            "kgate_leased_requests",
            "Decided requests whose verdict was given before and stood for them.",
            registry=registry,
        )
        self._lost = Counter(
            "kgate_outcomes_lost", "Outcomes that Kong's workers dropped.", registry=registry
        )
        self._refused = Counter("kgate_refused_peers", "Connections of users not allowed.", registry=registry)
        self._restarts = Counter("kgate_worker_deaths", "Workers that ended unasked.", registry=registry)
        self._stalls = Counter("kgate_stalls", "Times that a worker stood still.", registry=registry)
        self._unanswered = Counter(
            "kgate_asks_unanswered",
            "Requests whose strict limits Redis did not answer in time: the node's own count decided.",
            registry=registry,
        )
        self._workers = Gauge("kgate_workers", "Workers that serve.", registry=registry)
        self._connections = Gauge("kgate_connections", "Connections by lane.", ["lane"], registry=registry)
        self._degraded = Gauge("kgate_degraded", "1: the control state may be old.", registry=registry)
        self._age = Gauge(
            "kgate_state_age_seconds", "Since the control state was last confirmed.", registry=registry
        )
        self._version = Gauge(
            "kgate_state_version",
            "Version of the control state that every worker has at least.",
            registry=registry,
        )
        self._blocks = Gauge("kgate_blocks", "Blocks of the control state.", registry=registry)
        self._keepers = Counter(
            "kgate_keeper_restarts", "Times that the keeper of the control state ended.", registry=registry
        )
        self._evicted = Counter(
            "kgate_cells_evicted", "Live counters and limits that made room for others.", registry=registry
        )
        self._missed = Counter(
            "kgate_cells_lock_misses", "Decisions about limits without their lock.", registry=registry
        )
        self._no_keys = Gauge(
            "kgate_issuers_without_keys", "Issuers of which no key is known.", registry=registry
        )
        self._analyses = Counter(
            "kgate_analysis_restarts", "Times that the analysis of outcomes ended.", registry=registry
        )
        self._breakers = Gauge(
            "kgate_breaker_state",
            "Circuit breakers of services and routes: 0 closed, 1 open, 2 half-open.",
            ["breaker"],
            registry=registry,
        )
        self._canaries = Gauge(
            "kgate_canary",
            "Both arms of each canary in the last minute: requests, errors, error_percent, p95_ms.",
            ["canary", "arm", "figure"],
            registry=registry,
        )
        self._abuse = Gauge(
            "kgate_abuse_guard",
            "What abuse-guard holds and leaves out: buckets, buckets_evicted, blocks_held_back, ...",
            ["figure"],
            registry=registry,
        )
        self._conclusions = Counter(
            "kgate_conclusions",
            "What was concluded from outcomes, by kind of event: abuse.found, breaker.open, canary.abort ...",
            ["kind"],
            registry=registry,
        )
        self._concluded: dict[str, float] = {}
        self._trust = TrustMetrics(registry)
        self._decisions = _Decisions()
        registry.register(self._decisions)
        self._series: set[tuple[str, ...]] = set()

    def _bounded(self, kind: str, *names: str) -> tuple[str, ...]:
        tenant, route, *more = map(_text, names)
        found = (kind, tenant, route, *more)
        if found in self._series or len(self._series) < MAX_SERIES:
            self._series.add(found)
            return found[1:]
        return (tenant, "other", *more)

    def worker(self, report: dict[str, Any]) -> None:
        """Add a worker's report (Tally.report)."""
        for tenant, route, plugin, reason, count in report["verdicts"]:
            verdict = "exit" if plugin else "pass"
            labels = self._bounded("r", tenant, route, plugin, verdict, reason)
            self._requests.labels(*labels).inc(count)
        for reason, count in report["failures"].items():
            self._fails.labels(reason).inc(count)
        if "trust" in report:
            self._trust.worker(report["trust"])
        mine = self._decisions
        mine.buckets = [a + b for a, b in zip(mine.buckets, report["buckets"], strict=True)]
        mine.seconds += report["seconds"]

    def outcomes(self, counts: Mapping[Kind, int]) -> None:
        """Count what became of requests. One that the guard answered, or let pass where the route may stay open, for
        want of a verdict is seen here alone: no server knew of it."""
        for (tenant, route, first, source, reason, leased), count in counts.items():
            status = f"{first}xx" if first and first in "12345" else "none"
            known = source if source in ("service", "error", "exit", "kgate") else "none"
            labels = self._bounded("o", tenant, route, status, known)
            self._outcomes.labels(*labels).inc(count)
            if reason in GUARD_REASONS:
                self._fails.labels(reason).inc(count)
            if leased is not None:  # no worker has counted these
                self._requests.labels(*self._bounded("r", tenant, route, "", "pass", leased)).inc(count)
                self._leased.inc(count)

    def lost(self, rows: int) -> None:
        """Rows that a worker of Kong had to drop."""
        self._lost.inc(max(0, rows))

    def refused(self) -> None:
        """A connection of a user that is not allowed."""
        self._refused.inc()

    def died(self) -> None:
        """A worker ended unasked."""
        self._restarts.inc()

    def stood_still(self, times: int) -> None:
        """A worker stood still."""
        self._stalls.inc(times)

    def unanswered(self, requests: int) -> None:
        """What a worker asked Redis for in vain since its last report."""
        self._unanswered.inc(requests)

    def keeper_died(self) -> None:
        """The keeper ended unasked."""
        self._keepers.inc()

    def analysis_died(self) -> None:
        """The analysis ended unasked."""
        self._analyses.inc()

    def levels(self, told: dict[str, dict[str, float]]) -> None:
        """The gauges of the analysts, all of them anew."""
        self._breakers.clear()
        for name, level in list(told.get("static-fallback", {}).items())[:MAX_SERIES]:
            self._breakers.labels(name).set(level)
        self._canaries.clear()
        for name, level in list(told.get("canary-router", {}).items())[:MAX_SERIES]:
            self._canaries.labels(*name.split(" ", 2)).set(level)
        for name, level in told.get("abuse-guard", {}).items():
            self._abuse.labels(name).set(level)
        for kind, count in told.get("conclusions", {}).items():
            before = self._concluded.get(kind, 0)
            # fewer than before: the analysis began anew
            self._conclusions.labels(kind).inc(count - before if count >= before else count)
            self._concluded[kind] = count

    def cells(self, evicted: int, missed: int) -> None:
        """What a worker met since its last report."""
        self._evicted.inc(evicted)
        self._missed.inc(missed)

    def state(self, degraded: bool, age: float, version: int, blocks: int) -> None:
        """The control state of now, before a scrape. age: seconds."""
        self._degraded.set(degraded)
        self._age.set(age)
        self._version.set(version)
        self._blocks.set(blocks)

    def node(self, workers: int, connections: dict[str, int], without_keys: int) -> None:
        """The state of now, before a scrape."""
        self._workers.set(workers)
        for lane, count in connections.items():
            self._connections.labels(lane).set(count)
        self._no_keys.set(without_keys)

    def trust(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """What the workers last told of trust (Trust.report), before a scrape."""
        self._trust.now(reports)

    def text(self) -> bytes:
        """The exposition format of Prometheus."""
        return generate_latest(self.registry)


GUARD_REASONS = frozenset(
    {"server_away", "breaker_open", "no_verdict", "unprotected", "unreadable", "adapter_error"}
)
"""Why Kong's worker had no verdict, where the server has not counted it: these reasons are the guard's alone."""
