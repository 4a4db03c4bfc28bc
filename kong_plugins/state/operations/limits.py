"""kgate limits: which limits refuse requests, and forgetting what was counted."""

from __future__ import annotations

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.limits import Limited, LimitReset, of_client, part_of, reset_of, reset_record
from kong_plugins.state.operations import common
from kong_plugins.state.records import MAX_BATCH, MAX_KEY, Put


def reset(
    store: Store, key: str, *, actor: str, reason: str = "", ttl: float | None = None, source: str = "cli"
) -> LimitReset:
    """Forget what was counted for a limit's key, for all that a client ("ip V", "user ISS|SUB") has used, or for all
    ("*"), up to the store's now. The record stays for `ttl` (an hour) for nodes that were away.

    Of a client, the limits are found that refused it in the last minute, on any node.
    """
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise ValueError(f"key: {key!r} is not 1 to {MAX_KEY} printable characters")
    common.check_notes(actor, reason)
    part = part_of(key)
    keys = of_client(part, (one.key for one in store.limited()))[:MAX_BATCH] if part else []
    made = LimitReset(key, store.now(), reason, actor, common.end(store, "limits", ttl), source)
    details = {"keys": keys} if part else {}
    found = reset_of(
        common.put(store, "limits.reset", lambda _: reset_record(made), "limits", key, details=details)
    )
    if keys:
        store.apply([Put(reset_record(made._replace(key=each))) for each in keys])
    for each in keys or (key,):
        store.forget_limit(each)
    return found


def entries(store: Store) -> list[LimitReset]:
    """The resets that nodes may still have to make, by key. Raises StoreError."""
    try:
        return [reset_of(record) for record in store.records("limits")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error


def limited(store: Store) -> list[Limited]:
    """The keys whose limits refused requests in the last minute, the most often refused first."""
    return store.limited()
