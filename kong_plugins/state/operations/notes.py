"""Audit events without a change of the state: what an operator did elsewhere (a file that was rewritten)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kong_plugins.state.base import Store
from kong_plugins.state.operations import common
from kong_plugins.state.records import Event


def write(
    store: Store,
    kind: str,
    subject: str,
    *,
    actor: str,
    reason: str = "",
    data: Mapping[str, Any] | None = None,
) -> str:
    """Write one event and return its id. Raises ValueError and StoreError."""
    common.check_notes(actor, reason)
    return store.append(Event("", 0.0, kind, actor, subject, reason, dict(data or {})))
