"""kgate breaker: hold open, hold closed, reset, list."""

from __future__ import annotations

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.breakers import STATES, BreakerOverride, breaker_of, breaker_record
from kong_plugins.state.collections import HOUR
from kong_plugins.state.operations import common
from kong_plugins.state.scopes import parse_scope, split_scope

_RESET_TTL = HOUR
"""A reset happens once; its record stays for nodes that were away."""


def override(
    store: Store,
    scope: str,
    state: str,
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    source: str = "cli",
) -> BreakerOverride:
    """Hold the breakers of tenant:NAME, service:NAME, route:NAME or * ("open" or "closed") until it is cleared
    or `ttl` is over; "reset" forgets what was counted, and also ends an override that is there."""
    if state not in STATES:
        raise ValueError(f"state: {state!r} is not {', '.join(STATES)}")
    key = parse_scope(scope, allow_all=True)
    common.check_notes(actor, reason)
    end = common.end(store, "breakers", _RESET_TTL if ttl is None and state == "reset" else ttl)
    record = breaker_record(BreakerOverride(*split_scope(key), state, reason, actor, 0.0, end, source))
    verb = {"open": "open", "closed": "close", "reset": "reset"}[state]
    return breaker_of(common.put(store, f"breaker.{verb}", lambda _: record, "breakers", key))


def clear(store: Store, scope: str, *, actor: str, reason: str = "") -> BreakerOverride:
    """End an override without a reset: the breaker works as configured. Raises NotFound."""
    key = parse_scope(scope, allow_all=True)
    removed = common.remove(store, "breaker.clear", "breakers", key, actor=actor, reason=reason)
    if removed is None:
        raise common.NotFound(f"no breaker is held for {scope}; see kgate breaker list")
    return breaker_of(removed)


def entries(store: Store) -> list[BreakerOverride]:
    """The overrides, by key. Raises StoreError."""
    try:
        return [breaker_of(record) for record in store.records("breakers")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
