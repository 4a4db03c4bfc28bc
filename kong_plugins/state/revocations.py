"""Revocations as records: tokens that passport refuses though their signature is good.

key "token ISS|ID"       one token, by its id (RFC 7519 section 4.1.7, `jti`)
key "subject ISS|SUB"    all tokens of a subject
key "before ISS"         all tokens of an issuer that were issued before data.issued_before
"""

from __future__ import annotations

from typing import NamedTuple

from kong_plugins.state.records import Record

_MAX_TEXT = 512


class Revocation(NamedTuple):
    """kind is token, subject or before; value the token's id, the subject, or "" ; issued_before Unix seconds
    (kind before alone)."""

    kind: str
    issuer: str
    value: str
    issued_before: float | None
    reason: str
    actor: str
    created: float
    expires: float | None = None
    source: str = ""
    version: int = 0


def revocation_key(kind: str, issuer: str, value: str) -> str:
    """The record key. Raises ValueError naming what cannot be right."""
    if not 0 < len(issuer) <= _MAX_TEXT or not issuer.isprintable() or "|" in issuer:
        raise ValueError(f"issuer: {issuer!r} is not 1 to {_MAX_TEXT} printable characters without |")
    if kind == "before":
        return f"before {issuer}"
    if kind not in ("token", "subject"):
        raise ValueError(f"kind: {kind!r} is not token, subject or before")
    if not 0 < len(value) <= _MAX_TEXT or not value.isprintable():
        raise ValueError(f"{kind}: {value!r} is not 1 to {_MAX_TEXT} printable characters")
    return f"{kind} {issuer}|{value}"


def revocation_record(revocation: Revocation) -> Record:
    """The record that sets it. The store gives its times and version. Raises ValueError."""
    return Record(
        "revocations",
        revocation_key(revocation.kind, revocation.issuer, revocation.value),
        {} if revocation.issued_before is None else {"issued_before": revocation.issued_before},
        actor=revocation.actor,
        reason=revocation.reason,
        source=revocation.source,
        expires=revocation.expires,
    )


def revocation_of(record: Record) -> Revocation:
    """The revocation of a record of `revocations`. Raises ValueError naming it."""
    kind, _, rest = record.key.partition(" ")
    issuer, _, value = rest.partition("|")
    before = record.data.get("issued_before")
    try:
        if revocation_key(kind, issuer, value) != record.key:
            raise ValueError("not in canonical form")
        if (kind == "before") != (before is not None):
            raise ValueError("issued_before belongs to kind before, and to it alone")
        issued_before = None if before is None else float(before)
    except (TypeError, ValueError) as error:
        raise ValueError(f"revocation {record.key!r}: {error}") from error
    return Revocation(
        kind,
        issuer,
        value,
        issued_before,
        record.reason,
        record.actor,
        record.created,
        record.expires,
        record.source,
        record.version,
    )
