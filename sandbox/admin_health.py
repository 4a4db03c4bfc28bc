"""The health of targets in the Admin API: /upstreams/U/health and .../targets/T/healthy|unhealthy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox import db_errors
from sandbox.declarative import Reply
from sandbox.health import OFF, Address, Health
from sandbox.store import Entity, Store


class TargetHealth:
    """Answers what is asked about health."""

    def __init__(self, store: Callable[[], Store], health: Health | None, node_id: str) -> None:
        self._store, self._health, self._node_id = store, health, node_id

    def answer(self, method: str, parts: list[str]) -> None:
        """Raises Reply when the path is about health."""
        if parts[0] != "upstreams":
            return
        if len(parts) == 3 and parts[2] == "health" and method in ("GET", "HEAD"):
            self._list(parts[1])
        words = ("healthy", "unhealthy")
        if len(parts) == 5 and parts[2] == "targets" and parts[4] in words and method == "PUT":
            self._set(parts[1], parts[3], parts[4] == "healthy")

    def _find(self, name: str) -> tuple[Entity, list[Entity]]:
        upstream = self._store().find("upstreams", name)
        if upstream is None:
            raise Reply(404, db_errors.NOT_FOUND)
        return upstream, self._store().children("targets", "upstream", upstream["id"])

    def _list(self, name: str) -> None:
        upstream, targets = self._find(name)
        rows = []
        for target in targets:
            state = self._health.status(upstream["name"], _address(target)) if self._health else OFF
            rows.append({**target, "health": state, "data": _data(target, state)})
        raise Reply(200, {"data": rows, "next": None, "node_id": self._node_id})

    def _set(self, name: str, which: str, healthy: bool) -> None:
        upstream, targets = self._find(name)
        target = next((t for t in targets if which in (t["id"], t["target"])), None)
        if target is None:
            raise Reply(404, db_errors.NOT_FOUND)
        if self._health:
            self._health.set(upstream["name"], _address(target), healthy)
        raise Reply(204)


def _address(target: Entity) -> Address:
    host, _, port = target["target"].rpartition(":")
    return host.strip("[]"), int(port)


def _data(target: Entity, state: str) -> dict[str, Any]:
    host, _, port = target["target"].rpartition(":")
    weight = target["weight"]
    gone = weight if state == "UNHEALTHY" else 0
    address = {"ip": host, "port": int(port), "health": state, "weight": weight}
    return {
        "host": host,
        "port": int(port),
        "dns": "A",
        "nodeWeight": weight,
        "weight": {"total": weight, "available": weight - gone, "unavailable": gone},
        "addresses": [address],
    }
