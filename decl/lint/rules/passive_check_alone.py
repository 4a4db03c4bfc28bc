"""A passive health check without an active one.

It takes a target out, and nothing brings it back: no request goes there any more that could succeed. Add an active
check with `healthy.interval`, `healthy.successes` and `unhealthy.interval`.

Why: Kong's documentation of health checks; measured on 3.9.3: an ejected target stays out over POST /config.

PASS:
    upstreams: [{name: u, targets: [{target: "a:1"}], healthchecks: {passive: {unhealthy: {timeouts: 2}},
      active: {healthy: {interval: 5, successes: 2}, unhealthy: {interval: 5, tcp_failures: 2}}}}]
    services: [{name: a, host: u}]

FAIL:
    upstreams: [{name: u, targets: [{target: "a:1"}], healthchecks: {passive: {unhealthy: {timeouts: 2}}}}]
    services: [{name: a, host: u}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "passive-check-alone"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams whose passive check ejects and whose active one never asks an ejected target."""
    for upstream in view.gateway.upstreams:
        checks = upstream.fields.get("healthchecks") or {}
        passive = ((checks.get("passive") or {}).get("unhealthy")) or {}
        if not any(passive.get(count) for count in ("tcp_failures", "http_failures", "timeouts")):
            continue
        active = checks.get("active") or {}
        healthy, unhealthy = active.get("healthy") or {}, active.get("unhealthy") or {}
        if not (unhealthy.get("interval") and healthy.get("successes")):
            message = "a target that it takes out never comes back; add an active check"
            yield Hit((*upstream.path, "healthchecks"), message)
