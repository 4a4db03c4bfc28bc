"""The live state as the filters see it: for explaining, not for the request path."""

from __future__ import annotations

from kong_plugins.state.base import Store
from kong_plugins.state.snapshot import Snapshot, snapshot_of_dump


def snapshot(store: Store, namespace: str = "default") -> Snapshot:
    """The snapshot that a plugin server has now, or will have in a moment. Raises StoreError."""
    return snapshot_of_dump(store.load(), namespace, store.now())
