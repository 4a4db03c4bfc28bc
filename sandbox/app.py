"""The sandbox as one object: starts and stops with a set of KONG_* settings."""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from sandbox.admin import Admin
from sandbox.balancer import Balancer
from sandbox.declarative import load_file
from sandbox.http1 import Server
from sandbox.ids import WORKSPACE
from sandbox.lua_runtime import Lua
from sandbox.plugin_rpc import Externals
from sandbox.plugins import load_all
from sandbox.proxy import Plan, Proxy
from sandbox.router import Router
from sandbox.settings import load
from sandbox.store import Entity, Store

log = logging.getLogger("sandbox")


class Sandbox:
    """A stand-in Kong node.

    settings: KONG_* variables, as stock Kong reads them. Raises ValueError on a bad setting.
    `start` raises PluginLoadError on a plugin that does not load, OSError when a port is taken.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = load(settings)
        self._node_id = str(uuid.uuid4())
        self.proxy_url = ""
        self.admin_url = ""
        self._seq = 0

    async def start(self) -> None:
        """Load plugins, read the declarative file if one is set, listen."""
        settings = self.settings
        self.lua = Lua(settings, self._node_id)
        self._externals = Externals(self.lua, settings)
        self.schemas = load_all(self.lua, settings)
        self.lua.start()
        self._proxy = Proxy(settings, self.lua, settings.proxy_listen)
        self._admin = Admin(settings, self.schemas, self._node_id, self._apply)
        self._proxy_server, self._admin_server = Server(self._proxy.handle), Server(self._admin.handle)
        if settings.declarative_config:
            self._admin.store = load_file(settings.declarative_config, self.schemas)
        self._apply(self._admin.store)
        host, port = await self._proxy_server.start(*settings.proxy_listen)
        self._proxy.listener = (host, port)
        self.proxy_url = _url(host, port)
        try:
            self.admin_url = _url(*await self._admin_server.start(*settings.admin_listen))
        except OSError:
            await self._proxy_server.stop()
            raise

    async def stop(self) -> None:
        """Let running requests end, close everything."""
        await self._proxy_server.stop()
        await self._admin_server.stop()
        await self.lua.close()
        self._proxy.pool.close()
        await asyncio.sleep(0)  # aborted transports end in the next turn of the loop

    def _apply(self, store: Store) -> None:
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
        self._proxy.plan = Plan(
            Router(store.all("routes")),
            Balancer(store.all("upstreams"), store.all("targets")),
            store.entities["services"],
            {e["id"]: to_lua(_without_nulls(e)) for kind in ("routes", "services") for e in store.all(kind)},
        )

    def _conf(self, plugin: Entity, scope: Mapping[str, str | None]) -> dict[str, Any]:
        self._seq += 1
        ids = ":".join(scope[key] or "" for key in ("route_id", "service_id", "consumer_id"))
        extra = {
            "__plugin_id": plugin["id"],
            "__ws_id": WORKSPACE,
            "__key__": f"plugins:{plugin['name']}:{ids}:::{WORKSPACE}",
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


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
