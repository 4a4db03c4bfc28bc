"""Breaker overrides as records: key "tenant N", "service N", "route N" or "*", data {state}."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.records import Record
from kong_plugins.state.scopes import ALL, split_scope

STATES = ("open", "closed", "reset")


class BreakerOverride(NamedTuple):
    """state "open" refuses, "closed" lets pass whatever the outcomes are, while it is there. "reset" forgets
    once what was counted before `changed`; `changed` grows with every reset.

    scope is tenant, service, route or "*" (all; value is then "").
    """

    scope: str
    value: str
    state: str
    reason: str
    actor: str
    changed: float
    expires: float | None = None
    source: str = ""
    version: int = 0


def breaker_record(override: BreakerOverride) -> Record:
    """The record that sets it. The store gives its times and version."""
    return Record(
        "breakers",
        ALL if override.scope == ALL else f"{override.scope} {override.value}",
        {"state": override.state},
        actor=override.actor,
        reason=override.reason,
        source=override.source,
        expires=override.expires,
    )


def breaker_of(record: Record) -> BreakerOverride:
    """The override of a record of `breakers`. Raises ValueError naming it."""
    state = record.data.get("state")
    try:
        scope, value = split_scope(record.key)
        if state not in STATES:
            raise ValueError(f"{record.key!r}: state {state!r} is not known")
    except ValueError as error:
        raise ValueError(f"breaker {error}") from error
    return BreakerOverride(
        scope,
        value,
        str(state),
        record.reason,
        record.actor,
        record.changed,
        record.expires,
        record.source,
        record.version,
    )
