"""The control state at a glance, for `kgate top`."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.base import CanaryOverride, Store
from kong_plugins.state.breakers import BreakerOverride
from kong_plugins.state.fallbacks import Forced
from kong_plugins.state.operations import breakers, canaries, fallbacks, row_sets
from kong_plugins.state.records import Event

_EVENTS = 8


class Overview(NamedTuple):
    """blocks: the operators' own; imported: rows of the imported sets. events: the newest, the oldest first."""

    version: int
    blocks: int
    imported: int
    allows: int
    revocations: int
    canaries: tuple[CanaryOverride, ...]
    fallbacks: tuple[Forced, ...]
    breakers: tuple[BreakerOverride, ...]
    events: tuple[Event, ...]


def overview(store: Store, last: Overview | None = None) -> Overview:
    """The state of now. last: an earlier answer, which is kept when nothing has changed (but for what ended since).
    Raises StoreError."""
    version = store.version()
    if last is not None and last.version == version:
        return last._replace(events=tuple(store.events(_EVENTS)))
    return Overview(
        version,
        len(store.records("blocks")),
        sum(source.size for source in row_sets.sets(store, "sources")),
        len(store.records("allows")),
        len(store.records("revocations")),
        tuple(canaries.entries(store)),
        tuple(fallbacks.entries(store)),
        tuple(breakers.entries(store)),
        tuple(store.events(_EVENTS)),
    )
