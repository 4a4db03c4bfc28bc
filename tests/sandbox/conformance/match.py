"""Compares what came with what a case wants, which names only what matters.

A mapping wants at least its keys; a list wants the same length; a text `re:PATTERN` is searched; `<any>` is there
and not null, `<absent>` is not there, `<has>` before a list's items wants them somewhere in the list.
"""

from __future__ import annotations

import re
from typing import Any

ABSENT, ANY, HAS = "<absent>", "<any>", "<has>"


def problems(want: Any, got: Any, where: str = "") -> list[str]:
    """What differs, one text each; empty when all is as wanted."""
    if isinstance(want, dict):
        return _mapping(want, got, where)
    if isinstance(want, list):
        return _list(want, got, where)
    if want == ANY:
        return [] if got is not None else [f"{where}: nothing there"]
    if isinstance(want, str) and want.startswith("re:"):
        found = isinstance(got, str | int) and re.search(want[3:], str(got), re.DOTALL)
        return [] if found else [f"{where}: {got!r} does not match {want[3:]!r}"]
    same = want == got and isinstance(want, bool) == isinstance(got, bool)
    return [] if same else [f"{where}: {got!r} instead of {want!r}"]


def _mapping(want: dict[str, Any], got: Any, where: str) -> list[str]:
    if not isinstance(got, dict):
        return [f"{where}: {got!r} is no mapping"]
    found = []
    for key, value in want.items():
        at = f"{where}.{key}"
        if value == ABSENT:
            found += [f"{at}: {got[key]!r} should not be there"] if key in got else []
        elif key not in got:
            found.append(f"{at}: not there")
        else:
            found += problems(value, got[key], at)
    return found


def _list(want: list[Any], got: Any, where: str) -> list[str]:
    if not isinstance(got, list):
        return [f"{where}: {got!r} is no list"]
    if want[:1] == [HAS]:
        return [
            f"{where}: no {each!r} in {got!r}" for each in want[1:] if all(problems(each, g) for g in got)
        ]
    if len(want) != len(got):
        return [f"{where}: {len(got)} items instead of {len(want)}: {got!r}"]
    return [
        text
        for i, pair in enumerate(zip(want, got, strict=True))
        for text in problems(*pair, f"{where}[{i}]")
    ]
