"""What a lint rule yields."""

from __future__ import annotations

from typing import NamedTuple

from decl.findings import Path


class Hit(NamedTuple):
    """A place that breaks a rule, and one sentence that says what to do."""

    path: Path
    message: str
