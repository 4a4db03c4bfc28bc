"""What the analysis gives to an analyst: outcomes of kinds that concern it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kong_plugins.engine.outcome import Outcome


def given(analyst: Any, outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if analyst.concerned(one._replace(milliseconds="0", ip=""))]
