"""kgate fallback: force, clear, list."""

from __future__ import annotations

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.fallbacks import Forced, forced_of, forced_record
from kong_plugins.state.operations import common
from kong_plugins.state.scopes import parse_scope, split_scope


def force(
    store: Store,
    scope: str,
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    name: str | None = None,
    source: str = "cli",
) -> Forced:
    """Answer with the fallback for tenant:NAME, service:NAME or route:NAME until it is cleared or `ttl` is over.

    name: the prepared answer to take, if not the plugin's own choice.
    """
    key = parse_scope(scope)
    common.check_notes(actor, reason)
    if name is not None and (not name or common.note("name", name) != name.strip()):
        raise ValueError(f"name: {name!r} is no name of a prepared answer")
    end = common.end(store, "fallbacks", ttl)
    record = forced_record(Forced(*split_scope(key), name, reason, actor, 0.0, end, source))
    return forced_of(common.put(store, "fallback.force", lambda _: record, "fallbacks", key))


def clear(store: Store, scope: str, *, actor: str, reason: str = "") -> Forced:
    """Ask the service again. Raises NotFound."""
    key = parse_scope(scope)
    removed = common.remove(store, "fallback.clear", "fallbacks", key, actor=actor, reason=reason)
    if removed is None:
        raise common.NotFound(f"no fallback is forced for {scope}; see kgate fallback list")
    return forced_of(removed)


def entries(store: Store) -> list[Forced]:
    """The forced fallbacks, by key. Raises StoreError."""
    try:
        return [forced_of(record) for record in store.records("fallbacks")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
