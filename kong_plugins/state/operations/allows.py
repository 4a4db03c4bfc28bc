"""kgate allow: add, remove, list."""

from __future__ import annotations

from kong_plugins.state.allows import Allow, allow_of, allow_record, parse_allow
from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.operations import common
from kong_plugins.state.targets import target_text


def add(
    store: Store, target: str, *, actor: str, reason: str = "", ttl: float | None = None, source: str = "cli"
) -> Allow:
    """Allow an address, network or user: no block touches it while this lasts. Renews one that is there."""
    kind, value = parse_allow(target)
    common.check_notes(actor, reason)
    allow = Allow(kind, value, reason, actor, 0.0, common.end(store, "allows", ttl), source)
    record = allow_record(allow)
    return allow_of(common.put(store, "allow.add", lambda _: record, "allows", record.key))


def remove(store: Store, target: str, *, actor: str, reason: str = "") -> Allow:
    """Remove an allow: blocks count again. Raises NotFound."""
    kind, value = parse_allow(target)
    removed = common.remove(store, "allow.remove", "allows", f"{kind} {value}", actor=actor, reason=reason)
    if removed is None:
        raise common.NotFound(f"{target_text(kind, value)} is not allowed by itself; see kgate allow list")
    return allow_of(removed)


def entries(store: Store) -> list[Allow]:
    """The live allows, by key. Raises StoreError."""
    try:
        return [allow_of(record) for record in store.records("allows")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
