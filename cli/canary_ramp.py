"""Ramps as an operator sets them: from the options of `kgate canary ramp` to the data of an override, and in
words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.errors import UsageError
from cli.report.state import utc
from kong_plugins.state import ramps
from kong_plugins.state.base import CanaryOverride


def ramp_data(
    low: float, high: float, over: str, holds: Sequence[str], start: str | None, now: float
) -> dict[str, Any]:
    """The override's ramp. now: the store's clock. Raises UsageError naming the option."""
    try:
        begin = now if start is None else ramps.moment(start)
        points = ramps.make_points(low, high, ramps.duration(over), holds)
    except ValueError as error:
        raise UsageError(f"--{error}") from error
    plan = {"from": low, "to": high, "over": over, "hold": list(holds)}
    return {"points": points, "start": begin, "held": None, "late": 0.0, "plan": plan}


def as_plan(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The config's `ramp` that says the same; None where there is none (it stands still)."""
    if data.get("held") is not None or not data.get("plan"):
        return None
    plan = {**data["plan"], "start": ramps.moment_text(data["start"] + (data.get("late") or 0.0))}
    if not plan.get("hold"):
        plan.pop("hold", None)
    return plan


def end_of(data: Mapping[str, Any]) -> float:
    """When the ramp has arrived, Unix seconds, if nobody pauses it."""
    return float(data["start"] + (data.get("late") or 0.0) + data["points"][-1][0])


def words(override: CanaryOverride, now: float) -> str:
    """The ramp of an override in words; "" for none."""
    data = override.ramp
    if data is None:
        return ""
    held = f", paused since {utc(data['held'])}" if data.get("held") is not None else ""
    own = ramps.own_ramp(data)
    if own is None:
        late = data.get("late") or 0.0
        return f"ramp of the plan{held}" + (f", {late:.0f} s late" if late else "") if held or late else ""
    percent = ramps.percent_at(own.points, ramps.clock_of(data).at(now) - own.start)
    low, high = own.points[0][1], own.points[-1][1]
    state = held or (", until " + utc(end_of(data)) if end_of(data) > now else ", arrived")
    return f"ramp {low:g}% to {high:g}%, now {percent:.4g}%{state}"
