"""Marks as records: who looks suspicious, and how much. They pass, with a score for the service or at a slow pace.

Key "ip V", "cidr V" (a /24, or a /64 or /56 of IPv6) or "user ISS|SUB"; data {score, reasons, limit}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kong_plugins.state.records import Record

KINDS = ("ip", "cidr", "user")
MAX_REASONS = 8


class Mark(NamedTuple):
    """score is 1 to 100. limit is requests a second that still pass, 0 for no limit. Times are Unix seconds."""

    key: str
    score: int
    reasons: tuple[str, ...]
    limit: float = 0.0
    expires: float | None = None


def mark_data(mark: Mark) -> dict[str, Any]:
    """The data of its record."""
    return {"score": mark.score, "reasons": list(mark.reasons), "limit": mark.limit}


def mark_of(record: Record) -> Mark:
    """The mark of a record of `marks`. Raises ValueError naming it."""
    kind, _, value = record.key.partition(" ")
    data = record.data
    try:
        score, limit = int(data["score"]), float(data.get("limit") or 0.0)
        reasons = tuple(str(reason)[:64] for reason in data.get("reasons") or ())[:MAX_REASONS]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"mark {record.key!r}: no score, reasons or limit") from error
    if kind not in KINDS or not value or not 1 <= score <= 100 or not 0 <= limit <= 1e6:
        raise ValueError(f"mark {record.key!r}: a kind, score or limit that is none")
    return Mark(record.key, score, reasons, limit, record.expires)


class MarkView:
    """Live marks by key; `records` holds all of them."""

    __slots__ = ("_any", "records")

    def __init__(self, records: Mapping[str, Mark]) -> None:
        self.records = records
        self._any = bool(records)  # every request asks

    def __bool__(self) -> bool:
        return self._any

    def live(self, key: str, now: float) -> Mark | None:
        """The mark of a key, unless it has ended."""
        found = self.records.get(key)
        return found if found is not None and (found.expires is None or now < found.expires) else None
