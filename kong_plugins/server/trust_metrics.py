"""What Prometheus is told of trust: keys of issuers, the gateway's own keys, enrichment, passports made.

Every worker tells the same of the keys (one of them fetches for all), and its own of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

STATES = ("next", "current", "previous")


class TrustMetrics:
    """The metrics of Trust.report. Labels are names of issuers in the server's own configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(name, about, labels, registry=registry)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(name, about, labels, registry=registry)

        self._keys = gauge("kgate_issuer_keys", "Usable keys of an issuer.", "issuer")
        self._stale = gauge(
            "kgate_issuer_keys_stale", "1: the issuer should have confirmed its keys and has not.", "issuer"
        )
        self._age = gauge(
            "kgate_issuer_keys_age_seconds",
            "Since the issuer last confirmed its keys; only for a jwks_url.",
            "issuer",
        )
        self._refreshes = counter(
            "kgate_jwks_refreshes", "Fetches of an issuer's keys: good, failed.", "issuer", "result"
        )
        self._enrichment = counter(
            "kgate_enrichment",
            "Questions about users: good, unknown, inactive, failed, skipped.",
            "issuer",
            "result",
        )
        self._breaker = gauge(
            "kgate_enrichment_breaker_open", "1: an issuer's enrichment is not asked.", "issuer"
        )
        self._issued = counter(
            "kgate_passports_issued", "Passports made (reused ones do not count), by authn_level.", "level"
        )
        self._own_age = gauge(
            "kgate_passport_key_age_seconds",
            "Since the key that signs passports began to; -1: no keyring, or none.",
        )
        self._own = gauge("kgate_passport_keys", "Published keys of the gateway by state.", "state")

    def worker(self, report: Mapping[str, Any]) -> None:
        """Add what a worker counted since its last report."""
        for name, (_keys, _stale, _age, good, bad) in report["issuers"].items():
            self._refreshes.labels(name, "good").inc(good)
            self._refreshes.labels(name, "failed").inc(bad)
        for name, (_is_open, counts) in report["enrichment"].items():
            for result, count in counts.items():
                self._enrichment.labels(name, result).inc(count)
        for level, count in report["issued"].items():
            self._issued.labels(level).inc(count)

    def now(self, reports: Sequence[Mapping[str, Any]]) -> None:
        """The gauges, before a scrape: of what the workers last told the worst counts."""
        for gauge in (self._keys, self._stale, self._age, self._breaker):
            gauge.clear()
        for name in sorted({name for report in reports for name in report["issuers"]}):
            rows = [report["issuers"][name] for report in reports if name in report["issuers"]]
            self._keys.labels(name).set(min(row[0] for row in rows))
            self._stale.labels(name).set(max(row[1] for row in rows))
            age = max(row[2] for row in rows)
            if age >= 0:
                self._age.labels(name).set(age)
        for name in sorted({name for report in reports for name in report["enrichment"]}):
            opened = max(report["enrichment"][name][0] for report in reports if name in report["enrichment"])
            self._breaker.labels(name).set(opened)
        signing = [report["signing"] for report in reports]
        ages = [-1.0 if each["age"] is None else each["age"] for each in signing]
        self._own_age.set(min(ages, default=-1.0))
        for state in STATES:
            self._own.labels(state).set(min((each["states"].get(state, 0) for each in signing), default=0))
