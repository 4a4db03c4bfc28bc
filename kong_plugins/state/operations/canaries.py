"""kgate canary: read and change the overrides; what the verbs mean is said where they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kong_plugins.state.base import CanaryOverride, Store, StoreError
from kong_plugins.state.canaries import MAX_USERS, check_canary_name, override_of, override_record
from kong_plugins.state.operations import common
from kong_plugins.state.ramps import check_ramp
from kong_plugins.state.records import Record

Change = Callable[[CanaryOverride], CanaryOverride]


def update(
    store: Store,
    name: str,
    change: Mapping[str, Any] | Change,
    *,
    actor: str,
    reason: str = "",
    ttl: float | None = None,
    if_version: int | None = None,
    kind: str = "canary.set",
) -> CanaryOverride:
    """Change some fields of an override and keep the others; there need not be one yet.

    change: fields with new values, or a function of the current override (it may be called again when
    somebody else was faster). if_version: the version that the caller has seen, 0 for none; Conflict then
    carries what the other one set. kind is the event's ("canary.pause", "canary.promote", ...). Without `ttl`
    the override has no end.
    """
    check_canary_name(name)
    common.check_notes(actor, reason)
    expires = common.end(store, "canaries", ttl)

    def make(current: Record | None) -> Record:
        old = CanaryOverride(name) if current is None else override_of(current)
        new = change(old) if callable(change) else old._replace(**change)
        _check(new)
        return override_record(new._replace(name=name, actor=actor, reason=reason, expires=expires))

    return override_of(common.put(store, kind, make, "canaries", name, if_version=if_version))


def reset(
    store: Store, name: str, *, actor: str, reason: str = "", if_version: int | None = None
) -> CanaryOverride:
    """Forget the override: the canary follows its plan. Raises NotFound when there is none."""
    check_canary_name(name)
    removed = common.remove(
        store, "canary.reset", "canaries", name, actor=actor, reason=reason, if_version=if_version
    )
    if removed is None:
        raise common.NotFound(f"canary {name} has no override; see kgate canary list")
    return override_of(removed)


def get(store: Store, name: str) -> CanaryOverride | None:
    """The live override of a canary. Raises ValueError for a name that is none, StoreError."""
    record = store.get("canaries", check_canary_name(name))
    return None if record is None else override_of(record)


def entries(store: Store) -> list[CanaryOverride]:
    """The live overrides, by name. Raises StoreError."""
    try:
        return [override_of(record) for record in store.records("canaries")]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error


def _check(override: CanaryOverride) -> None:
    if override.percent is not None and not 0 <= override.percent <= 100:
        raise ValueError(f"percent: {override.percent!r} is not a number from 0 to 100")
    if override.users is not None and len(override.users) > MAX_USERS:
        raise ValueError(f"users: more than {MAX_USERS}; make it a list (kgate list import) and name that")
    if override.users is not None and override.users_list is not None:
        raise ValueError("users and users_list: give one of them")
    check_ramp(override.ramp)
