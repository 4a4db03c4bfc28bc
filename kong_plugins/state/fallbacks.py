"""Forced fallbacks as records: key "tenant N", "service N" or "route N", data {name}."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.records import Record
from kong_plugins.state.scopes import split_scope


class Forced(NamedTuple):
    """While it is there, static-fallback answers without asking the service.

    scope is tenant, service or route, value its name; name chooses a prepared answer, None the plugin's own
    choice.
    """

    scope: str
    value: str
    name: str | None
    reason: str
    actor: str
    created: float
    expires: float | None = None
    source: str = ""
    version: int = 0


def forced_record(forced: Forced) -> Record:
    """The record that sets it. The store gives its times and version."""
    return Record(
        "fallbacks",
        f"{forced.scope} {forced.value}",
        {"name": forced.name},
        actor=forced.actor,
        reason=forced.reason,
        source=forced.source,
        expires=forced.expires,
    )


def forced_of(record: Record) -> Forced:
    """The forced fallback of a record of `fallbacks`. Raises ValueError naming it."""
    try:
        scope, value = split_scope(record.key)
    except ValueError as error:
        raise ValueError(f"fallback {error}") from error
    name = record.data.get("name")
    return Forced(
        scope,
        value,
        None if name is None else str(name),
        record.reason,
        record.actor,
        record.created,
        record.expires,
        record.source,
        record.version,
    )
