"""Hybrid mode as its Admin API shows it: a control plane with data planes whose configuration follows.

The data planes are invented: each reports the hash of the control plane's configuration `delay` seconds after it
changed. Kong's own hash is the md5 of the configuration that it sends; here it is the md5 of the entities.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from sandbox import admin_pages
from sandbox.declarative import Reply
from sandbox.store import EMPTY_HASH, Store

_ONLY_THERE = (
    "this endpoint is only available when Kong is configured to run as Control Plane for the cluster"
)
_TTL = 14 * 24 * 3600


class DataPlanes:
    """The data planes of a control plane. count: how many, 0 for a node that is no control plane."""

    def __init__(self, role: str, count: int, delay: float, clock: Callable[[], float] = time.time) -> None:
        self._role, self._delay, self._clock = role, delay, clock
        self._ids = sorted(str(uuid.uuid5(uuid.NAMESPACE_DNS, f"data-plane-{i}")) for i in range(count))
        self._history: list[tuple[float, Store]] = [(float("-inf"), Store())]
        self._hashed: tuple[Store | None, str] = (None, EMPTY_HASH)

    def changed(self, store: Store) -> None:
        """The control plane has another configuration from now on."""
        now = self._clock()
        self._history.append((now, store))
        while len(self._history) > 1 and self._history[1][0] <= now - self._delay:
            del self._history[0]  # nobody is so far behind

    def answer(self, method: str, parts: list[str], query: admin_pages.Query) -> None:
        """Raises Reply for /clustering/data-planes and /clustering/status."""
        if method not in ("GET", "HEAD") or parts[1:] not in (["data-planes"], ["status"]):
            return
        if self._role != "control_plane":
            raise Reply(400, {"message": _ONLY_THERE})
        digest = self._followed()
        rows = [self._row(i, entity_id, digest) for i, entity_id in enumerate(self._ids, 1)]
        if parts[1] == "data-planes":
            raise admin_pages.page("/clustering/data-planes", rows, query, dbless=False)
        some = ("config_hash", "hostname", "ip", "last_seen")
        status = {row["id"]: {name: row[name] for name in some} for row in rows}
        raise Reply(200, status, (("Deprecation", "true"),))

    def _followed(self) -> str:
        """The hash of the configuration that the data planes have by now."""
        store = [store for since, store in self._history if since <= self._clock() - self._delay][-1]
        if self._hashed[0] is not store:
            self._hashed = (store, config_hash(store))
        return self._hashed[1]

    def _row(self, number: int, entity_id: str, digest: str) -> dict[str, Any]:
        now = self._clock()
        return {
            "id": entity_id,
            "config_hash": digest,
            "hostname": f"data-plane-{number}",
            "ip": "127.0.0.1",
            "last_seen": int(now),
            "updated_at": int(now),
            "ttl": _TTL,
            "version": "3.9.3",
            "sync_status": "normal",
            "labels": None,
            "cert_details": None,
            "rpc_capabilities": None,
        }


def config_hash(store: Store) -> str:
    """The hash that all data planes report which have a configuration."""
    kinds = {kind: items for kind, items in store.entities.items() if items}
    if not kinds:
        return EMPTY_HASH
    text = json.dumps(kinds, sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
