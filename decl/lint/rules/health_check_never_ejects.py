"""A passive health check that cannot see the failures.

The last try of a request counts by its HTTP status only. With `retries: 0` each try is the last, so
`tcp_failures` never counts: name 502 and 504 in `http_statuses` with `http_failures`, or allow a retry.

Why: measured on Kong 3.9.3: with retries 0 tcp_failures never ejected a dead target.

PASS:
    upstreams: [{name: u, targets: [{target: "a:1"}], healthchecks: {passive: {unhealthy: {tcp_failures: 2}}}}]
    services: [{name: a, host: u, retries: 1, connect_timeout: 1000, read_timeout: 1000}]

FAIL:
    upstreams: [{name: u, targets: [{target: "a:1"}], healthchecks: {passive: {unhealthy: {tcp_failures: 2}}}}]
    services: [{name: a, host: u, retries: 0, connect_timeout: 1000, read_timeout: 1000}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "health-check-never-ejects"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams with tcp_failures and no http_failures, used by a service without retries."""
    no_retry = {service.host for service in view.gateway.services if service.fields.get("retries") == 0}
    for upstream in view.gateway.upstreams:
        passive = (upstream.fields.get("healthchecks") or {}).get("passive") or {}
        unhealthy = passive.get("unhealthy") or {}
        if upstream.name in no_retry and unhealthy.get("tcp_failures") and not unhealthy.get("http_failures"):
            message = "with retries: 0 tcp_failures never counts; add http_failures with 502 and 504"
            yield Hit((*upstream.path, "healthchecks"), message)
