"""kgate events: read the audit log, and follow it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kong_plugins.state.base import Store
from kong_plugins.state.collections import MAX_EVENTS
from kong_plugins.state.records import Event

_ID = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")


def recent(
    store: Store,
    count: int = 50,
    *,
    kind: str = "",
    actor: str = "",
    subject: str = "",
    after_id: str | None = None,
) -> list[Event]:
    """The newest `count` events that match (with `after_id`: the first after it), the oldest first.

    kind: "block.add", or "block" for all of blocks; actor: the whole; subject: a part. Raises ValueError.
    """
    if not 0 < count <= MAX_EVENTS:
        raise ValueError(f"count: {count} is not 1 to {MAX_EVENTS}")
    if after_id is not None and not _ID.fullmatch(after_id):
        raise ValueError(f"id: {after_id!r} is no event's id")
    if not (kind or actor or subject):
        return store.events(count, after_id)
    found = [
        event for event in store.events(MAX_EVENTS * 2, after_id) if matches(event, kind, actor, subject)
    ]
    return found[:count] if after_id is not None else found[-count:]


def follow(store: Store, after_id: str | None = None, seconds: float = 1.0) -> Iterator[list[Event]]:
    """Events as they come, without end: every `seconds` at the latest a list, which may be empty, so that the
    caller can look whether to go on. after_id: None for from now on. Raises StoreError; call again with the
    last id then, nothing is lost that the log still has.
    """
    if after_id is None:
        newest = store.events(1)
        after_id = newest[0].id if newest else "0-0"
    while True:
        found = store.wait(after_id, seconds)
        after_id = found[-1].id if found else after_id
        yield found


def matches(event: Event, kind: str = "", actor: str = "", subject: str = "") -> bool:
    """Whether an event is one of those that `recent` is asked for."""
    return (
        (not kind or event.kind == kind or event.kind.startswith(f"{kind}."))
        and (not actor or event.actor == actor)
        and subject in event.subject
    )
