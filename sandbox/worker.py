"""One worker of a node: a LuaJIT state of its own, its balancers' turns, its connections to upstreams.

What Kong's workers share (health of targets, ngx.shared) is the node's.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decl.routing import Router
from sandbox import fields
from sandbox.balancer import Balancer
from sandbox.health import Health
from sandbox.ids import WORKSPACE
from sandbox.lua_runtime import Lua
from sandbox.plugin_rpc import Externals
from sandbox.plugins import load_all
from sandbox.proxy import Plan, Proxy
from sandbox.settings import Settings
from sandbox.shared_dict import SharedDicts
from sandbox.store import Entity, Store


@dataclass(frozen=True)
class Shared:
    """What all workers of a node have in common."""

    node_id: str
    workers: int = 1
    health: Health = field(default_factory=Health)
    dicts: SharedDicts = field(default_factory=SharedDicts)


class Worker:
    """Raises PluginLoadError on a plugin that does not load."""

    def __init__(self, settings: Settings, shared: Shared, number: int) -> None:
        self.lua = Lua(settings, shared.node_id, number, shared.workers, shared.dicts)
        self._health = shared.health
        self._externals = Externals(self.lua, settings)
        self.schemas = load_all(self.lua, settings)
        for name, schema in self.schemas.items():
            for key, found in fields.each(schema):
                if key in ("route", "service", "consumer") and found.get("eq") is fields.NULL_ONLY:
                    self.lua.limit(name, key)
        self.proxy = Proxy(settings, self.lua, settings.proxy_listen)
        self._seq = 0

    def start(self) -> None:
        """Run the plugins' init_worker."""
        self.lua.start()

    async def close(self) -> None:
        """Timers get their last run, connections are closed."""
        await self.lua.close()
        self.proxy.pool.close()

    def use(self, store: Store) -> None:
        """A new configuration; requests under way keep theirs."""
        to_lua = self.lua.values.to_lua
        instances = []
        configs: dict[str, dict[str, Any]] = {}
        for plugin in store.all("plugins"):
            if not plugin["enabled"] or not set(plugin["protocols"]) & {"http", "https"}:
                continue
            scope = {
                f"{key}_id": (plugin.get(key) or {}).get("id") for key in ("route", "service", "consumer")
            }
            configs[plugin["id"]] = conf = self._conf(plugin, scope)
            instances.append((plugin["name"], scope, to_lua(conf)))
        self.lua.configure(instances)
        self._externals.config_of = configs.__getitem__
        self._consumers(store)
        self.proxy.plan = Plan(
            Router(store.all("routes")),
            Balancer(store.all("upstreams"), store.all("targets"), self._health),
            store.entities["services"],
            {e["id"]: to_lua(_without_nulls(e)) for kind in ("routes", "services") for e in store.all(kind)},
            any(route["paths"] for route in store.all("routes")),
        )

    def _conf(self, plugin: Entity, scope: Mapping[str, str | None]) -> dict[str, Any]:
        self._seq += 1
        ids = ":".join(scope[key] or "" for key in ("route_id", "service_id", "consumer_id"))
        extra = {
            "__plugin_id": plugin["id"],
            "__ws_id": WORKSPACE,
            "__key__": f"plugins:{plugin['name']}:{ids}::{WORKSPACE}",
            "__seq__": self._seq,
            "plugin_instance_name": plugin.get("instance_name"),
            **scope,
        }
        return dict(_without_nulls({**copy.deepcopy(plugin["config"] or {}), **extra}))

    def _consumers(self, store: Store) -> None:
        to_lua = self.lua.values.to_lua
        consumers = {c["id"]: to_lua(_without_nulls(c)) for c in store.all("consumers")}
        keys = {
            c["key"]: (consumers[c["consumer"]["id"]], to_lua(_without_nulls(c)))
            for c in store.all("keyauth_credentials")
        }
        names = {c.get("username"): consumers[c["id"]] for c in store.all("consumers")} | consumers
        self.lua.host.consumer_of_key = keys.get
        self.lua.host.consumer_by_name = names.get


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
