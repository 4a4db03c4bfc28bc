"""Reading one field of a plugin's config record, with errors that name the field.

Kong's JSON has two habits that every parser must allow: a null is the same as an absent field, and an
empty Lua table may arrive as `[]` or as `{}` whatever its type.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

FAIL: dict[str, Any] = {
    "fail": {"type": "string", "one_of": ["closed", "open"], "default": "closed", "required": True}
}
"""Kong schema field that all gate plugins share: what happens when no verdict can be had."""


def choice(raw: Mapping[str, Any], field: str, allowed: Collection[str], default: str) -> str:
    """One of a fixed set of words. Raises ValueError naming the field."""
    value = raw.get(field)
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{field}: {value!r} is not one of {', '.join(sorted(allowed))}")
    return value


def fail_policy(raw: Mapping[str, Any]) -> str:
    """The field `fail`: closed (503 when there is no verdict, the default) or open."""
    return choice(raw, "fail", ("closed", "open"), "closed")


def text(raw: Mapping[str, Any], field: str, default: str | None = None) -> str:
    """A text; without a default it is required and must not be empty. Raises ValueError."""
    value = raw.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (not value and default is None):
        required = ", the field is required" if default is None else ""
        raise ValueError(f"{field}: expected text{required}")
    return value


def texts(raw: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A list of texts, empty by default. Raises ValueError naming the element."""
    value = raw.get(field)
    if value is None or value == {}:
        return ()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{field}: expected a list")
    for number, item in enumerate(value):
        if not isinstance(item, str):
            raise ValueError(f"{field}[{number}]: expected text, not {type(item).__name__}")
    return tuple(value)


MAX_INLINE = 500
"""Entries of a list in a config, which Kong keeps and sends whole. Longer ones belong into the control state."""


def inline(raw: Mapping[str, Any], field: str, named: str) -> tuple[str, ...]:
    """A list of texts that may be a named list as well, in the field `named`. Raises ValueError naming the field."""
    found = texts(raw, field)
    if len(found) > MAX_INLINE:
        raise ValueError(
            f"{field}: {len(found):,} entries are more than {MAX_INLINE}: make them a list (kgate list import) and "
            f"name it in {named}"
        )
    return found


MAX_LISTS = 16
_LIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def list_names(raw: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Names of lists of the control state, at most MAX_LISTS. Raises ValueError naming the element."""
    names = texts(raw, field)
    if len(names) > MAX_LISTS:
        raise ValueError(f"{field}: {len(names)} lists, {MAX_LISTS} are allowed")
    for number, name in enumerate(names):
        if not _LIST_NAME.fullmatch(name):
            raise ValueError(f"{field}[{number}]: {name!r} is not the name of a list")
    return names


def flag(raw: Mapping[str, Any], field: str, default: bool) -> bool:
    """A boolean. Raises ValueError naming the field."""
    value = raw.get(field)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{field}: expected true or false")
    return value


def number(raw: Mapping[str, Any], field: str, low: float, high: float, default: float) -> float:
    """A number within low..high, both included. Raises ValueError naming the field."""
    value = raw.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{field}: expected a number from {low:g} to {high:g}, not {value!r}")
    return float(value)
