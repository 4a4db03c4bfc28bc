"""kgate passport revoke: a token, a subject, or everything that an issuer issued before a time."""

from __future__ import annotations

import math

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.operations import common
from kong_plugins.state.records import Record
from kong_plugins.state.revocations import Revocation, revocation_key, revocation_of, revocation_record


def revoke(
    store: Store,
    kind: str,
    issuer: str,
    value: str = "",
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    issued_before: float | None = None,
    source: str = "cli",
) -> Revocation:
    """Refuse kind "token" (value: its id), "subject" (value) or "before" (issued_before in Unix seconds, the
    store's now by default) of an issuer.

    ttl should reach to the end of the longest token's life; 30 days without it. A "before" never goes back:
    the later of the two times stays.
    """
    key = revocation_key(kind, issuer, value)
    common.check_notes(actor, reason)
    before: float | None = None
    if kind == "before":
        before = store.now() if issued_before is None else issued_before
        if not math.isfinite(before) or before <= 0:
            raise ValueError(f"issued_before: {before!r} is not a time in Unix seconds")
    elif issued_before is not None:
        raise ValueError("issued_before goes with kind before only")
    end = common.end(store, "revocations", ttl)
    made = Revocation(
        kind, issuer, value if kind != "before" else "", before, reason, actor, 0.0, end, source
    )

    def make(current: Record | None) -> Record:
        old = None if current is None else revocation_of(current)
        if before is None or old is None or old.issued_before is None:
            return revocation_record(made)
        return revocation_record(made._replace(issued_before=max(before, old.issued_before)))

    return revocation_of(common.put(store, "passport.revoke", make, "revocations", key))


def restore(
    store: Store, kind: str, issuer: str, value: str = "", *, actor: str, reason: str = ""
) -> Revocation:
    """Take a revocation back. Raises NotFound."""
    key = revocation_key(kind, issuer, value)
    removed = common.remove(store, "passport.restore", "revocations", key, actor=actor, reason=reason)
    if removed is None:
        raise common.NotFound(f"{key} is not revoked")
    return revocation_of(removed)


def entries(store: Store) -> list[Revocation]:
    """The live revocations, by key. Raises StoreError."""
    try:
        return [revocation_of(record) for record in store.records("revocations")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
