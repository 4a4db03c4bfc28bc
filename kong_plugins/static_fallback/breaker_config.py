"""The config of a breaker and of a retry budget, as Kong holds them in static-fallback's config.

    breaker:
      per                 service | route: what it watches, default service
      mode                on | metrics_only (counts and tells, never refuses), default on
      window              count | time, default time
      window_size         calls, or seconds: 1 to 10,000, default 100 calls or 10 s
      minimum_calls       fewer say nothing, default 20
      failure_rate        percent at which it opens, default 50
      slow_call_rate      percent of slow calls at which it opens, default 100
      slow_call_seconds   a call that takes as long is slow, default 60
      open_seconds        how long it refuses, default 5
      open_growth         times as long with each opening in a row, default 2
      open_max_seconds    and never longer, default 60
      half_open_permits   trial calls, default 5
      lease_seconds       a trial without a result frees its permit after it, default 30
      failures            refused, reset, timeout, no_target, and statuses "500" to "599";
                          default the four and 502, 503, 504
    retry_budget          percent of failed first tries above which requests are not repeated, 0: no budget

The meaning is resilience4j's (CircuitBreakerConfig); the defaults are for a gateway: shorter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from kong_plugins.engine import fields

CLASSES = ("refused", "reset", "timeout", "no_target")
DEFAULT_FAILURES = (*CLASSES, "502", "503", "504")
_STATUS = re.compile(r"5[0-9][0-9]")

_NUMBERS: dict[str, tuple[float, float, float, bool]] = {
    # low, high, default, whole
    "minimum_calls": (1, 10_000, 20, True),
    "failure_rate": (1, 100, 50, False),
    "slow_call_rate": (1, 100, 100, False),
    "slow_call_seconds": (0.001, 3_600, 60, False),
    "open_seconds": (0.1, 3_600, 5, False),
    "open_growth": (1, 10, 2, False),
    "open_max_seconds": (0.1, 86_400, 60, False),
    "half_open_permits": (1, 1_000, 5, True),
    "lease_seconds": (0.1, 3_600, 30, False),
}
_SIZES = {"count": 100, "time": 10}


def _number(low: float, high: float, default: float, whole: bool) -> dict[str, Any]:
    if whole:
        return {"type": "integer", "between": [int(low), int(high)], "default": int(default)}
    return {"type": "number", "between": [low, high], "default": default}


SCHEMA: list[dict[str, Any]] = [
    {
        "breaker": {
            "type": "record",
            "required": False,
            "fields": [
                {"per": {"type": "string", "one_of": ["service", "route"], "default": "service"}},
                {"mode": {"type": "string", "one_of": ["on", "metrics_only"], "default": "on"}},
                {"window": {"type": "string", "one_of": ["count", "time"], "default": "time"}},
                {"window_size": {"type": "integer", "between": [1, 10_000]}},
                *({name: _number(*limits)} for name, limits in _NUMBERS.items()),
                {"failures": {"type": "array", "elements": {"type": "string"}}},
            ],
        }
    },
    {"retry_budget": {"type": "number", "between": [0, 100]}},
]
"""Kong schema fields."""

SOURCE_SCHEMA: dict[str, Any] = {
    "breaker": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "per": {"enum": ["service", "route"]},
            "mode": {"enum": ["on", "metrics_only"]},
            "window": {"enum": ["count", "time"]},
            "window_size": {"type": "integer", "minimum": 1, "maximum": 10_000},
            **{
                name: {"type": "integer" if whole else "number", "minimum": low, "maximum": high}
                for name, (low, high, _, whole) in _NUMBERS.items()
            },
            "failures": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "anyOf": [
                        {"type": "integer", "minimum": 500, "maximum": 599},
                        {"type": "string", "pattern": f"^(5[0-9][0-9]|{'|'.join(CLASSES)})$"},
                    ]
                },
            },
        },
    },
    "retry_budget": {"type": "number", "minimum": 0, "maximum": 100},
}
"""JSON Schema properties of the YAML file's form."""


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """See the module; rates are percent, times seconds."""

    per: str = "service"
    mode: str = "on"
    window: str = "time"
    size: int = 10
    minimum_calls: int = 20
    failure_rate: float = 50.0
    slow_rate: float = 100.0
    slow_seconds: float = 60.0
    open_seconds: float = 5.0
    open_growth: float = 2.0
    open_max: float = 60.0
    permits: int = 5
    lease_seconds: float = 30.0
    failures: frozenset[str] = frozenset(DEFAULT_FAILURES)

    def open_for(self, openings: int) -> float:
        """Seconds of the n-th opening in a row, counted from 1."""
        longest = max(self.open_max, self.open_seconds)
        # beyond 64 doublings every cap is reached: no overflow
        return min(longest, self.open_seconds * self.open_growth ** min(openings - 1, 64))


@dataclass(frozen=True, slots=True)
class Watch:
    """What one config has watched: `id` is its name in memos, flags and messages between nodes."""

    id: str
    breaker: BreakerConfig | None
    budget: float


def parse(raw: Mapping[str, Any]) -> Watch | None:
    """The breaker and the retry budget of static-fallback's config, None without either. Raises ValueError."""
    budget = fields.number(raw, "retry_budget", 0, 100, 0)
    given = raw.get("breaker")
    breaker = None
    if given is not None:
        if not isinstance(given, Mapping):
            raise ValueError("breaker: expected a record")
        try:
            breaker = _breaker(given)
        except ValueError as error:
            raise ValueError(f"breaker.{error}") from error
    if breaker is None and not budget:
        return None
    content = {} if breaker is None else {**asdict(breaker), "failures": sorted(breaker.failures)}
    text = json.dumps([content, budget], sort_keys=True)
    return Watch(blake2b(text.encode(), digest_size=5).hexdigest(), breaker, budget)


def _breaker(raw: Mapping[str, Any]) -> BreakerConfig:
    window = fields.choice(raw, "window", _SIZES, "time")
    found: dict[str, Any] = {}
    for name, (low, high, default, whole) in {
        "window_size": (1, 10_000, _SIZES[window], True),
        **_NUMBERS,
    }.items():
        value = fields.number(raw, name, low, high, default)
        if whole and value != int(value):
            raise ValueError(f"{name}: expected a whole number")
        found[name] = int(value) if whole else value
    failures = fields.texts(raw, "failures") or DEFAULT_FAILURES
    for number, word in enumerate(failures):
        if word not in CLASSES and not _STATUS.fullmatch(word):
            raise ValueError(f"failures[{number}]: {word!r} is not 500 to 599, {', '.join(CLASSES)}")
    return BreakerConfig(
        per=fields.choice(raw, "per", ("service", "route"), "service"),
        mode=fields.choice(raw, "mode", ("on", "metrics_only"), "on"),
        window=window,
        size=found["window_size"],
        minimum_calls=found["minimum_calls"],
        failure_rate=found["failure_rate"],
        slow_rate=found["slow_call_rate"],
        slow_seconds=found["slow_call_seconds"],
        open_seconds=found["open_seconds"],
        open_growth=found["open_growth"],
        open_max=found["open_max_seconds"],
        permits=found["half_open_permits"],
        lease_seconds=found["lease_seconds"],
        failures=frozenset(failures),
    )
