"""kgate limits: forget what was counted. Listing the counters is the plugin servers' work, not the store's."""

from __future__ import annotations

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.limits import LimitReset, reset_of, reset_record
from kong_plugins.state.operations import common
from kong_plugins.state.records import MAX_KEY


def reset(
    store: Store, key: str, *, actor: str, reason: str = "", ttl: float | None = None, source: str = "cli"
) -> LimitReset:
    """Forget what was counted for a limit's key, or for all ("*"), up to the store's now. The record stays for
    `ttl` (an hour) for nodes that were away."""
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise ValueError(f"key: {key!r} is not 1 to {MAX_KEY} printable characters")
    common.check_notes(actor, reason)
    made = LimitReset(key, store.now(), reason, actor, common.end(store, "limits", ttl), source)
    return reset_of(common.put(store, "limits.reset", lambda _: reset_record(made), "limits", key))


def entries(store: Store) -> list[LimitReset]:
    """The resets that nodes may still have to make, by key. Raises StoreError."""
    try:
        return [reset_of(record) for record in store.records("limits")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
