"""Resets of limits as records: key is the limit's key, or "*" for all; data {reset}."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.records import Record

ALL = "*"


class LimitReset(NamedTuple):
    """What was counted for `key` before `reset` (Unix seconds by the store's clock) is forgotten once."""

    key: str
    reset: float
    reason: str
    actor: str
    expires: float | None = None
    source: str = ""
    version: int = 0


def reset_record(reset: LimitReset) -> Record:
    """The record that sets it. The store gives its version."""
    return Record(
        "limits",
        reset.key,
        {"reset": reset.reset},
        actor=reset.actor,
        reason=reset.reason,
        source=reset.source,
        expires=reset.expires,
    )


def reset_of(record: Record) -> LimitReset:
    """The reset of a record of `limits`. Raises ValueError naming it."""
    try:
        reset = float(record.data["reset"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"limit {record.key!r}: no number in `reset`") from error
    return LimitReset(
        record.key, reset, record.reason, record.actor, record.expires, record.source, record.version
    )
