"""Retries over targets whose health nobody checks.

A retry is no use when it meets the same dead target again: round-robin does not leave a target out until a health
check has. Check the targets' health, or take `retries: 0`.

Why: measured on Kong 3.9.3: with a dead target of weight 900 beside a live one of 100, half of the requests ended in
502 after five retries.

PASS:
    upstreams: [{name: u, targets: [{target: "a:1"}, {target: "b:1"}], healthchecks: {active: {healthy: {interval: 5},
      unhealthy: {interval: 5, tcp_failures: 2}}}}]
    services: [{name: a, host: u, retries: 1, connect_timeout: 1000, read_timeout: 1000}]

FAIL:
    upstreams: [{name: u, targets: [{target: "a:1"}, {target: "b:1"}]}]
    services: [{name: a, host: u, retries: 1, connect_timeout: 1000, read_timeout: 1000}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "retry-without-health-check"
LEVEL: Level = WARNING

_COUNTS = ("tcp_failures", "http_failures", "timeouts")


def check(view: View) -> Iterator[Hit]:
    """Services with explicit retries on an upstream of several targets without a check that can take one out."""
    upstreams = {upstream.name: upstream for upstream in view.gateway.upstreams}
    for service in view.gateway.services:
        upstream = upstreams.get(service.host)
        if not service.fields.get("retries") or upstream is None or len(upstream.targets) < 2:
            continue
        if not _ejects(upstream.fields.get("healthchecks")):
            message = f"upstream {upstream.name!r} has no health check: a retry may meet the same dead target"
            yield Hit((*service.path, "retries"), message, first=upstream.path)


def _ejects(healthchecks: Any) -> bool:
    if not isinstance(healthchecks, Mapping):
        return False
    for kind in ("active", "passive"):
        unhealthy = (healthchecks.get(kind) or {}).get("unhealthy") or {}
        looks = kind == "passive" or unhealthy.get("interval")
        if looks and any(unhealthy.get(count) for count in _COUNTS):
            return True
    return False
