"""Findings: what is wrong in the files, as values.

A stage that looks at values knows only paths into the document; it yields a Problem. `decl.source` knows
where each path stands in which file and makes the Finding of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Path = tuple[str | int, ...]
"""A place in the merged document: ("services", 0, "routes", 2, "paths")."""

Level = Literal["error", "warning"]
ERROR: Final = "error"
WARNING: Final = "warning"


class Place(NamedTuple):
    """A place in a file; line and col count from 1, as editors do."""

    file: str
    line: int
    col: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}"


class Problem(NamedTuple):
    """Something wrong at `path`. `at_key` points at the field's name and not at its value; `first` is the
    place that it collides with, if any."""

    path: Path
    rule: str
    message: str
    level: Level = ERROR
    at_key: bool = False
    first: Path | None = None


class Finding(NamedTuple):
    """Something wrong at a place of a file; the fields are in sorting order."""

    file: str
    line: int
    col: int
    level: Level
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}: {self.level}[{self.rule}]: {self.message}"


def finding(place: Place, rule: str, message: str, level: Level = ERROR) -> Finding:
    """The finding of `rule` at a place. A message is one line: what it quotes of a file may hold anything."""
    if not message.isprintable():
        message = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    return Finding(*place, level, rule, message)


def tidy(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sorted by file and place, without repetitions."""
    return tuple(sorted(set(findings)))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of them is an error: then nothing is rendered or pushed."""
    return any(found.level == ERROR for found in findings)
