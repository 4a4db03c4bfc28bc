"""What a decision comes to, before and after it is written for the adapter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kong_plugins.engine.facts import PROTOCOL, Facts
from kong_plugins.engine.verdict import Verdict, to_wire

Found = tuple[Verdict | None, Facts | None, str]
"""A verdict and the facts that it is on; or why there is none, and the facts where they could be read."""
Decided = tuple[Verdict | None, dict[str, Any]]
"""A verdict, None where there is none, and its wire map."""


class Later(Exception):
    """No error: the decision asks something. `start(done)` asks, and calls `done` with what was decided, within
    the budget."""

    def __init__(self, start: Callable[[Callable[[Decided], None]], None]) -> None:
        super().__init__()
        self.start = start


def wire_of(found: Found, record: Sequence[Any], chain: str = "") -> dict[str, Any]:
    """What was found on this record, as the adapter that sent it reads it. chain: as in `to_wire`."""
    verdict, facts, reason = found
    if verdict is None or facts is None:
        wire = {"v": PROTOCOL, "n": facts.request_id if facts else "", "e": reason}
        return {**wire, "ch": chain} if chain else wire
    return to_wire(verdict, facts.request_id, facts.tenant, record[0], chain)
