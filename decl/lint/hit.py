"""What a lint rule yields."""

from __future__ import annotations

from typing import Literal, NamedTuple

from decl.findings import Path


class Fix(NamedTuple):
    """A safe repair: another text for the scalar at `path` (at its name, with `at_key`). `quoted` writes it in
    double quotes, else it is written as plain YAML."""

    path: Path
    text: str
    at_key: bool = False
    style: Literal["plain", "quoted"] = "plain"


class Hit(NamedTuple):
    """A place that breaks a rule, one sentence that says what to do, the place that it collides with if any,
    and the repair where there is a safe one."""

    path: Path
    message: str
    first: Path | None = None
    at_key: bool = False
    fix: Fix | None = None
