"""The `health` block of an upstream, in place of Kong's `healthchecks`.

    health:
      path: /health     asked on each target; without it a TCP connection is tried
      interval: 5s      between two looks, default 5s
      timeout: 1s       default 1s
      failures: 3       in a row that take a target out, default 3
      successes: 2      in a row that bring it back, default 2
      passive: true     requests of clients count as well, default true

Passive checks alone take a target out for ever: nothing brings it back (Kong's documentation), so the active ones are
always on. The last try of a request counts by nginx's status alone (measured on 3.9.3): a refused connection is a 502
and a timeout a 504 then, so these stand in the statuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decl.policies import durations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "path": {"type": "string", "pattern": "^/"},
        "protocol": {"enum": ["http", "https", "tcp"]},
        "interval": durations.SCHEMA,
        "timeout": durations.SCHEMA,
        "failures": {"type": "integer", "minimum": 1, "maximum": 254},
        "successes": {"type": "integer", "minimum": 1, "maximum": 254},
        "passive": {"type": "boolean"},
    },
}
"""JSON Schema (2020-12) of the block."""

FAILED = [429, 500, 502, 503, 504]
"""An active check that is answered so has failed."""
FAILED_PASSIVE = [502, 503, 504]
"""Without 500: one broken page of clients must not take targets out."""


def healthchecks(block: Mapping[str, Any]) -> dict[str, Any]:
    """Kong's `healthchecks` of an upstream with the block. Raises ValueError naming the field."""
    path = block.get("path")
    protocol = block.get("protocol", "http" if path else "tcp")
    if path is not None and protocol == "tcp":
        raise ValueError("health.path: with protocol tcp nothing is asked; take http or https")
    interval = durations.seconds("health.interval", block.get("interval", 5))
    timeout = durations.seconds("health.timeout", block.get("timeout", 1))
    failures, successes = block.get("failures", 3), block.get("successes", 2)
    active: dict[str, Any] = {
        "type": protocol,
        "timeout": timeout,
        "concurrency": 10,
        "healthy": {"interval": interval, "successes": successes},
        "unhealthy": {"interval": interval, "tcp_failures": failures, "timeouts": failures},
    }
    if protocol != "tcp":
        active["http_path"] = path or "/"
        active["unhealthy"].update(http_failures=failures, http_statuses=FAILED)
    found = {"active": active}
    if block.get("passive", True):
        found["passive"] = {
            "type": protocol,
            "unhealthy": {
                "http_failures": failures,
                "http_statuses": FAILED_PASSIVE,
                "tcp_failures": failures,
                "timeouts": failures,
            },
        }
    return found
