"""Ramps: a canary's percent as a function of time. Nothing runs: whoever asks works it out from the start.

A ramp is a start (Unix seconds) and a line of points (seconds since the start, percent), with straight pieces
between them; two points with one percent are a hold. Before the start it is 0, after the last point that point's
percent. What an operator sets over it is data of the canary's override:

    {"points": [[0, 1], [7200, 50]], "start": 1893456000, "held": null, "late": 0, "plan": {...}}

held: since when the clock of the ramp stands still (Unix seconds). late: seconds that it has stood still
before. Without points the two are of the ramp in the plugin's config. plan: the ramp as the config would say
it, for `promote`.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Points = Sequence[Sequence[float]]
"""(seconds since the start, percent), in order."""

MAX_POINTS = 64
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])", re.ASCII)
_HOLD = re.compile(r"([0-9.]{1,8})%:([0-9]{1,7}[smhd])", re.ASCII)
_FIELDS = frozenset({"points", "start", "held", "late", "plan"})


class Ramp(NamedTuple):
    """start: Unix seconds."""

    start: float
    points: Points


class Clock(NamedTuple):
    """What an operator did to a ramp's clock: it stands still since `held`, and is `late` seconds behind."""

    held: float | None = None
    late: float = 0.0

    def at(self, now: float) -> float:
        """The moment on the ramp's clock."""
        return (now if self.held is None or now < self.held else self.held) - self.late


def percent_at(points: Points, seconds: float) -> float:
    """The percent `seconds` after the start."""
    if seconds < 0:
        return 0.0
    place = bisect_right(points, seconds, key=_time)
    if place == len(points):
        return points[-1][1]
    (begin, low), (end, high) = points[place - 1], points[place]
    return low + (high - low) * (seconds - begin) / (end - begin)


def _time(point: Sequence[float]) -> float:
    return point[0]


def duration(text: Any, field: str = "over") -> float:
    """Seconds of 90s, 15m, 2h or 7d. Raises ValueError naming the field."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not found:
        raise ValueError(f"{field}: {text!r} is not a number and s, m, h or d, like 30m")
    return float(int(found[1]) * _UNITS[found[2]])


def moment(text: Any, field: str = "start") -> float:
    """Unix seconds of an ISO 8601 moment, UTC where it names no zone. Raises ValueError naming the field."""
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(f"{field}: {text!r} is not a moment like 2030-01-31T18:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def moment_text(seconds: float) -> str:
    """The moment in ISO 8601, in whole seconds."""
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_points(low: float, high: float, over: float, holds: Sequence[str] = ()) -> list[list[float]]:
    """The line from `low` to `high` percent, which rises for `over` seconds in all; each hold ("10%:30m")
    stands still there for that long, in addition. Raises ValueError naming the field."""
    if not 0 <= low < high <= 100:
        raise ValueError(f"to: {high:g} is not more than from ({low:g}) and at most 100")
    if over <= 0:
        raise ValueError("over: must be more than 0")
    points: list[list[float]] = [[0.0, float(low)]]
    waited, last = 0.0, low
    for number, text in enumerate(holds):
        found = _HOLD.fullmatch(text) if isinstance(text, str) else None
        try:
            percent = float(found[1]) if found else math.nan
        except ValueError:
            percent = math.nan
        if not found or not low <= percent <= high:
            raise ValueError(f"hold[{number}]: {text!r} is not PERCENT%:TIME like 10%:30m, within the ramp")
        if number and percent <= last:
            raise ValueError(f"hold[{number}]: {text!r} is not above the hold before")
        at = waited + over * (percent - low) / (high - low)
        if at > points[-1][0]:
            points.append([at, percent])
        last = percent
        waited += duration(found[2], f"hold[{number}]")
        points.append([at + duration(found[2], f"hold[{number}]"), percent])
    if last < high or len(points) == 1:
        points.append([over + waited, float(high)])
    if len(points) > MAX_POINTS:
        raise ValueError(f"hold: more than {MAX_POINTS // 2} holds")
    return points


def clock_of(data: Mapping[str, Any] | None) -> Clock:
    """The clock of an override's ramp data."""
    return Clock() if data is None else Clock(data.get("held"), data.get("late") or 0.0)


def own_ramp(data: Mapping[str, Any] | None) -> Ramp | None:
    """The ramp that the override brings itself, None when the plan's counts."""
    if data is None or data.get("points") is None:
        return None
    return Ramp(data["start"], data["points"])


def held(data: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
    """The data with the clock stopped at `now`; one that stands still stays as it is."""
    made = dict(data or {})
    made["held"] = made["held"] if made.get("held") is not None else now
    return made


def resumed(data: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
    """The data with the clock going on where it stood."""
    made = dict(data or {})
    if made.get("held") is not None:
        made["late"] = (made.get("late") or 0.0) + max(0.0, now - made["held"])
    made["held"] = None
    return made


def check_ramp(data: Any) -> Mapping[str, Any] | None:
    """The data itself, when it can be worked with. Raises ValueError."""
    if data is None:
        return None
    if not isinstance(data, Mapping) or not set(data) <= _FIELDS:
        raise ValueError("ramp: expected a map of " + ", ".join(sorted(_FIELDS)))
    for field in ("held", "late", "start"):
        if data.get(field) is not None and not _is_number(data[field]):
            raise ValueError(f"ramp: {field}: expected a number")
    points = data.get("points")
    if points is None:
        return data
    if (
        not isinstance(points, (list, tuple))
        or not 1 < len(points) <= MAX_POINTS
        or data.get("start") is None
    ):
        raise ValueError("ramp: points: expected some, and a start")
    before = (-1.0, 0.0)
    for point in points:
        if not isinstance(point, (list, tuple)) or len(point) != 2 or not all(map(_is_number, point)):
            raise ValueError("ramp: points: expected pairs of numbers")
        if not (point[0] > before[0] and before[1] <= point[1] <= 100):
            raise ValueError("ramp: points: expected rising times and percents")
        before = (point[0], point[1])
    if points[0][0] != 0:
        raise ValueError("ramp: points: the first is at 0 seconds")
    return data


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
