"""abort_if: when the gateway gives a canary up by itself.

error_difference  percentage points of errors that the canary may have more than control (0.5). More of them
                  abort when the sequential test says, too, that it is no accident
latency_ratio     the canary's 95th percentile of latency may be that many times control's (none)
errors            errors of the canary in `window` that abort whatever control does (none)
window            of the shown rates, of the percentiles and of `errors`: 60s
min_samples       requests that each arm must have had in the window (100)
false_abort       chance that a canary which is as good as control is ever aborted by a test, whatever the
                  number of looks (0.00001)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kong_plugins.engine import fields
from kong_plugins.state.ramps import duration

FIELDS: list[dict[str, Any]] = [
    {"error_difference": {"type": "number", "between": [0, 100]}},
    {"latency_ratio": {"type": "number", "between": [1, 1000]}},
    {"errors": {"type": "integer", "between": [1, 1_000_000]}},
    {"window": {"type": "string"}},
    {"min_samples": {"type": "integer", "between": [1, 1_000_000]}},
    {"false_abort": {"type": "number", "between": [1e-12, 0.1]}},
]
"""Kong schema fields; their defaults are in `parse`."""

MIN_WINDOW, MAX_WINDOW = 10.0, 3600.0


class AbortIf(NamedTuple):
    """error_difference is a share (0.005), window seconds. None: not looked at."""

    error_difference: float = 0.005
    latency_ratio: float | None = None
    errors: int | None = None
    window: float = 60.0
    min_samples: int = 100
    false_abort: float = 1e-5


def parse(raw: Any) -> AbortIf | None:
    """The config's `abort_if`; None without one. Raises ValueError naming the field."""
    if raw is None or raw == []:
        return None
    if not isinstance(raw, Mapping):
        raise ValueError("abort_if: expected a map")
    known = {name for field in FIELDS for name in field}
    unknown = next((field for field in raw if field not in known), None)
    if unknown is not None:
        raise ValueError(f"abort_if: {unknown}: unknown field")
    try:
        window = duration(raw["window"], "window") if raw.get("window") is not None else 60.0
        if not MIN_WINDOW <= window <= MAX_WINDOW:
            raise ValueError(f"window: expected {MIN_WINDOW:g}s to {MAX_WINDOW:g}s")
        ratio = None if raw.get("latency_ratio") is None else fields.number(raw, "latency_ratio", 1, 1000, 1)
        errors = None if raw.get("errors") is None else int(fields.number(raw, "errors", 1, 1e6, 1))
        return AbortIf(
            fields.number(raw, "error_difference", 0, 100, 0.5) / 100,
            ratio,
            errors,
            window,
            int(fields.number(raw, "min_samples", 1, 1e6, 100)),
            fields.number(raw, "false_abort", 1e-12, 0.1, 1e-5),
        )
    except ValueError as error:
        raise ValueError(f"abort_if: {error}") from error
