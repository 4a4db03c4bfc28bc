"""Records of the control state, as lines for people and as JSON with a shape that stays."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from kong_plugins.state.base import Block, CanaryOverride
from kong_plugins.state.lists import RowSet
from kong_plugins.state.operations.coverage import Coverage
from kong_plugins.state.records import Event
from kong_plugins.state.targets import target_text


def printable(text: str) -> str:
    """Text from the store for a terminal: without characters that could steer it."""
    return "".join(character if character.isprintable() else "?" for character in text)


def utc(seconds: float) -> str:
    """Unix seconds as a time that people read; as a number where no calendar has it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"second {seconds:g}"


def until(expires: float | None) -> str:
    """When it ends."""
    return "without end" if expires is None else f"until {utc(expires)}"


def target(kind: str, value: str) -> str:
    """A target as an operator writes it."""
    return printable(target_text(kind, value))


def by(actor: str, reason: str) -> str:
    """Who and why, at the end of a line."""
    return f"by {printable(actor)}" + (f"  {printable(reason)}" if reason else "")


def record(value: Any) -> dict[str, Any]:
    """Any facade's value (a NamedTuple) as JSON. The id of a set's rows is the store's own affair."""
    found: dict[str, Any] = value._asdict()
    if isinstance(value, CanaryOverride):
        found["users"] = None if value.users is None else sorted(value.users)
        found["ramp"] = None if value.ramp is None else dict(value.ramp)
    if isinstance(value, RowSet):
        del found["bulk"]
    if isinstance(value, Event):
        found["data"] = dict(value.data)
    return found


def coverage(found: Coverage) -> dict[str, Any]:
    """The answer of `kgate block check`."""
    return {
        "kind": found.kind,
        "value": found.value,
        "refused": found.refused,
        "allow": None if found.allow is None else record(found.allow),
        "blocks": [record(block) for block in found.blocks],
    }


def block(found: Block) -> str:
    """One line of a block."""
    where = f"  ({printable(found.source)})" if found.source.startswith("import:") else ""
    return (
        f"{target(found.kind, found.value)}  {until(found.expires)}  {by(found.actor, found.reason)}{where}"
    )


def row_set(found: RowSet) -> str:
    """One line of an imported set or a list."""
    about = by(found.actor, found.reason)
    return f"{found.name}: {found.size:,} {found.kind}, {until(found.expires)}, {utc(found.changed)} {about}"


def canary(found: CanaryOverride) -> str:
    """One line of an override."""
    percent = "percent of the plan" if found.percent is None else f"{found.percent:g}%"
    users = "users of the plan" if found.users is None else f"{len(found.users)} pinned users"
    if found.users_list is not None:
        users = f"users of the list {printable(found.users_list)}"
    if found.ramp is not None and found.ramp.get("points"):
        points, held = found.ramp["points"], found.ramp.get("held")
        stands = "" if held is None else f" (paused since {utc(held)})"
        percent = f"ramp {points[0][1]:g}% to {points[-1][1]:g}%{stands}"
    elif found.ramp is not None and found.ramp.get("held") is not None and not found.paused:
        percent = f"ramp of the plan paused since {utc(found.ramp['held'])}"
    state = "aborted" if found.aborted else "paused" if found.paused else "running"
    end = "" if found.expires is None else f", {until(found.expires)}"
    return f"{printable(found.name)}: {state}, {percent}, {users}, version {found.version}{end}"


def event(found: Event) -> str:
    """One line of the audit log."""
    about = by(found.actor, found.reason)
    return f"{utc(found.time)}  {printable(found.kind)}  {printable(found.subject)}  {about}"


def dump(value: Any) -> str:
    """One document on one line. What is not printable is escaped: it may be shown on a terminal."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]
