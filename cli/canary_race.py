"""What to tell whoever wanted to change a canary when somebody else was faster."""

from __future__ import annotations

from typing import Any

from cli.report.state import printable, utc
from kong_plugins.state.base import Conflict, Store
from kong_plugins.state.operations import history


def lost(store: Store, name: str, version: int, conflict: Conflict) -> str:
    """One line: who changed which fields from what to what since `version`, and when."""
    told = [_line(change) for change in history.since(store, "canary", name, version)]
    current = conflict.current
    if not told and current is not None:  # the audit log has gone on
        told = [f"{printable(current.actor)} at {utc(current.changed)}"]
    now = 0 if current is None else current.version
    changed = f"changed by {'; then by '.join(told)}" if told else "there is no override"
    return (
        f"canary {name} is at version {now}, not {version}, nothing was written; {changed}; "
        f"see kgate canary show {name} and try again"
    )


def _line(change: history.Changed) -> str:
    fields = ", ".join(
        f"{name} {_short(old)} -> {_short(new)}"
        for name, (old, new) in sorted(change.fields.items())
        if old is not None or new not in (None, False)
    )
    why = f" ({printable(change.reason)})" if change.reason else ""
    what = "removed it" if not change.version else fields or "same values"
    return f"{printable(change.actor)} at {utc(change.time)}: {what}{why}"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return printable(text if len(text) <= 60 else f"{text[:57]}...")
