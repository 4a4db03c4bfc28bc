"""What Kong's router does not take of a route that its schema takes: the grammar of its own regular expressions.

The schema compiles a path with PCRE; the router (traditional_compatible) makes an expression of the whole route
and compiles it with the Rust crate `regex`, which knows neither look-around nor back references.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from decl.routing import compiled, path_pattern

_LOOK = "look-around, including look-ahead and look-behind, is not supported"
_GROUPS = {  # what stands behind "(?"
    "=": _LOOK,
    "!": _LOOK,
    ">": "unrecognized flag",
    "#": "unrecognized flag",
    "|": "unrecognized flag",
    "(": "unrecognized flag",
    "P<=": "invalid capture group character",
    "P<!": "invalid capture group character",
    "P=": "backreferences are not supported",
    "P>": "unrecognized flag",
    "<=": _LOOK,
    "<!": _LOOK,
}
_REPETITION = re.compile(r"\{\d+(,\d*)?\}")
_BRACED = re.compile(r"\\(?:[pPxuU]\{[^}]*\}|.|$)", re.DOTALL)
_ESCAPES = frozenset("aftnrvAzbBdDsSwWpPxuU")
"""Letters that mean something behind a backslash."""


def refused(route: Mapping[str, Any]) -> str | None:
    """Kong's text for a route that cannot be made an expression of, without the picture of where; None when well.

    route: its `paths` and `headers` have passed the schema.
    """
    patterns = [path[1:].replace("?<", "?P<") for path in _texts(route.get("paths")) if path.startswith("~")]
    headers = route.get("headers")
    for values in headers.values() if isinstance(headers, dict) else ():
        if values == []:
            return "Router Expression failed validation: expected term"
        patterns += [value[2:].lower() for value in _texts(values) if value.startswith("~*")]
    for pattern in patterns:
        if why := bad_regex(pattern):
            return f"Router Expression failed validation: regex parse error: {pattern}: error: {why}"
    return None


def bad_regex(pattern: str) -> str | None:
    """Why the crate `regex` refuses a pattern: the differences to Python's, then what Python says."""
    i, inside = 0, False
    while i < len(pattern):
        char = pattern[i]
        if char == "\\":
            after = pattern[i + 1 : i + 2]
            if after.isdigit() and after.isascii():
                return "backreferences are not supported"
            if after.isalpha() and after.isascii() and after not in _ESCAPES:
                return "unrecognized escape sequence"
            i += len(_BRACED.match(pattern, i)[0]) - 1  # type: ignore[index] # it matches any escape
        elif inside:
            inside = char != "]"
        elif char == "[":
            inside = True
            i += len(re.match(r"\^?\]?", pattern[i + 1 :])[0])  # type: ignore[index] # it matches nothing too
        elif pattern.startswith("(?", i):
            for start, why in _GROUPS.items():
                if pattern.startswith(start, i + 2):
                    return why
        elif char == "{":
            found = _REPETITION.match(pattern, i)
            if not found:
                return "repetition quantifier expects a valid decimal"
        i += 1
    try:
        compiled(path_pattern(f"~{pattern}"))
    except re.error as e:
        return e.msg
    return None


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
