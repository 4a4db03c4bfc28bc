"""Plain scalars by the core schema of YAML 1.2.2, section 10.3.2.

YAML 1.1, which PyYAML implements, reads `on`, `no` and `NO` as booleans, `12:30` as a number and
`2024-01-01` as a date: none of that is meant in a gateway's file. Here only true and false are booleans, and
what JSON cannot hold (.inf, .nan) stays text.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NUMBER_STARTS = frozenset("0123456789-+.")
_MAX_DIGITS = 400
"""Longer digit strings stay text: int() refuses them, and no number of a gateway is that long."""


def plain(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text[:1] in _NUMBER_STARTS and len(text) <= _MAX_DIGITS:
        return _number(text)
    return _WORDS.get(text, text)


def _number(text: str) -> Scalar:
    if not text:
        return None
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return text if value in (float("inf"), float("-inf")) else value
    return text
