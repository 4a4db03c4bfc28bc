"""Reading Kong's settings: an empty Lua table arrives as {}, times are nginx's."""

from __future__ import annotations

import re
from typing import Any

_TIME = re.compile(r"(\d+)(ms|s|m|h)?")
_UNIT = {"ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0, None: 1000.0}


def milliseconds(text: Any) -> float | None:
    """nginx's time (300ms, 2s, 1m; a bare number is seconds), None for what is none."""
    found = _TIME.fullmatch(str(text).strip())
    return float(found[1]) * _UNIT[found[2]] if found else None


def texts(value: Any, kind: Any = str) -> list[Any]:
    """The members of a list that are of a kind; none for anything else."""
    return [each for each in value if isinstance(each, kind)] if isinstance(value, list) else []
