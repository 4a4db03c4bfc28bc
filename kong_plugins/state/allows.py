"""Allows as records: whom no block touches. Keys "ip V", "cidr V", "user [ISS|]SUB"; no data."""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.records import Record
from kong_plugins.state.targets import parse_network_target, parse_target, split_key

_SHORTEST = {4: 8, 6: 16}


class Allow(NamedTuple):
    """One allow: `kind` is ip, cidr or user, the rest as in `Block`."""

    kind: str
    value: str
    reason: str
    actor: str
    created: float
    expires: float | None = None
    source: str = ""
    version: int = 0


def parse_allow(text: str) -> tuple[str, str]:
    """(kind, canonical value) of `ADDRESS`, `ADDRESS/BITS` or `user:[ISSUER|]SUBJECT`. Raises ValueError."""
    if text.startswith("user:"):
        return parse_target(text)
    if text.startswith(("token:", "agent:")):
        raise ValueError(f"{text!r}: only addresses, networks and users can be allowed")
    return parse_network_target(text, _SHORTEST)


def allow_record(allow: Allow) -> Record:
    """The record that sets the allow. The store gives its times and version."""
    return Record(
        "allows",
        f"{allow.kind} {allow.value}",
        {},
        actor=allow.actor,
        reason=allow.reason,
        source=allow.source,
        expires=allow.expires,
    )


def allow_of(record: Record) -> Allow:
    """The allow of a record of `allows`. Raises ValueError naming it."""
    try:
        kind, value = split_key(record.key)
        if kind not in ("ip", "cidr", "user"):
            raise ValueError(f"{record.key!r}: kind {kind!r} cannot be allowed")
    except ValueError as error:
        raise ValueError(f"allow {error}") from error
    return Allow(
        kind,
        value,
        record.reason,
        record.actor,
        record.created,
        record.expires,
        record.source,
        record.version,
    )
