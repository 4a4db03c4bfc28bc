"""Times as people write them in policy blocks."""

from __future__ import annotations

import re
from typing import Any

PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m)$"
SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": PATTERN}],
    "description": "seconds, or a text such as 500ms, 2s, 1m",
}
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def seconds(field: str, value: Any) -> float:
    """Seconds of a number or a text such as "500ms". Raises ValueError naming the field."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = float(value)
    elif isinstance(value, str) and re.fullmatch(PATTERN, value):
        number = value.rstrip("ms")
        found = float(number) * _UNITS[value[len(number) :]]
    else:
        raise ValueError(f"{field}: {value!r} is not seconds, or a text such as 500ms, 2s, 1m")
    if not 0.001 <= found <= 3_600:
        raise ValueError(f"{field}: {value!r} is not 1 ms to 1 h")
    return found
