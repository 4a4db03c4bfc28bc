"""What others changed: the audit log's answer for whoever lost a race."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kong_plugins.state.base import Store
from kong_plugins.state.records import Event

_LOOK_BACK = 1_000
"""Events that are searched: a race is seconds old."""


class Changed(NamedTuple):
    """One change of a record. version: the record's after it, 0 when it was removed. fields: name -> (before, after)
    of what differs. time: Unix seconds."""

    version: int
    kind: str
    actor: str
    time: float
    reason: str
    fields: Mapping[str, tuple[Any, Any]]


def since(store: Store, kind: str, subject: str, version: int) -> list[Changed]:
    """The changes of a record after `version`, the oldest first; what the log does not hold any more is missing.

    kind: what the events' kinds begin with ("canary"). Raises StoreError.
    """
    found: list[Changed] = []
    for event in store.events(_LOOK_BACK):
        if event.subject == subject and event.kind.startswith(f"{kind}."):
            change = _change(event)
            if change is not None:
                found.append(change)
    # after a loss of all data versions begin again: what counts is the last time that it was at `version`
    seen = [n for n, change in enumerate(found) if change.version == version]
    if seen or not version:
        return found[seen[-1] + 1 if seen else 0 :]
    return [change for change in found if change.version > version]


def _change(event: Event) -> Changed | None:
    before, after = event.data.get("before"), event.data.get("after")
    if before is None and after is None:
        return None  # an event that tells of no change of the record
    old, new = _fields(before), _fields(after)
    fields = {
        name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)
    }
    version = int(after["version"]) if after is not None else 0
    return Changed(version, event.kind, event.actor, event.time, event.reason, fields)


def _fields(view: Any) -> dict[str, Any]:
    return {} if view is None else {**view["data"], "expires": view["expires"]}
