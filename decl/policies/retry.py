"""The `retry` block of a service, in place of Kong's `retries` and three timeouts.

    retry:
      attempts: 2             tries in all, 1 to 10, default 2
      per_try_timeout: 500ms  of each try, default 10s
      budget: 20              percent of failed first tries above which nothing is tried again; 0: no budget

What Kong makes of it (measured on 3.9.3): tries are `retries` + 1; a connection that is refused or times out is tried
again for every method; a reset or a read timeout only for methods that are idempotent. `write_timeout` is the time
between two writes. The budget goes into the service's static-fallback, which keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from decl.policies import durations

DEFAULT_ATTEMPTS = 2
DEFAULT_TIMEOUT = 10.0
CONNECT_SECONDS = 1.0
"""A connection takes no longer on any network that a gateway stands in."""
REPLACED = ("retries", "connect_timeout", "read_timeout", "write_timeout")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "attempts": {"type": "integer", "minimum": 1, "maximum": 10},
        "per_try_timeout": durations.SCHEMA,
        "budget": {"type": "number", "minimum": 0, "maximum": 100},
    },
}
"""JSON Schema (2020-12) of the block."""


def fields(block: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Kong's fields of a service with the block. given: the service's own; raises ValueError where it sets one of
    the same."""
    both = [field for field in REPLACED if field in given]
    if both:
        raise ValueError(f"retry: {both[0]} is set too; keep one of the two")
    attempts = block.get("attempts", DEFAULT_ATTEMPTS)
    if not isinstance(attempts, int) or isinstance(attempts, bool) or not 1 <= attempts <= 10:
        raise ValueError("retry.attempts: expected a whole number from 1 to 10")
    timeout = durations.seconds("retry.per_try_timeout", block.get("per_try_timeout", DEFAULT_TIMEOUT))
    milliseconds = max(1, round(timeout * 1000))
    return {
        "retries": attempts - 1,
        "connect_timeout": min(milliseconds, round(CONNECT_SECONDS * 1000)),
        "read_timeout": milliseconds,
        "write_timeout": milliseconds,
    }


def with_budget(block: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """A static-fallback config of this service with the block's budget; its own stands."""
    budget = block.get("budget")
    return {**config} if not budget or "retry_budget" in config else {**config, "retry_budget": budget}
