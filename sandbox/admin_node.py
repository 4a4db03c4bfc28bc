"""What a node says of itself: /, /status, /endpoints, /plugins/enabled, /schemas."""

from __future__ import annotations

import os
import platform
from typing import Any

from sandbox import fields
from sandbox.declarative import Reply
from sandbox.entities import CHILDREN, FIELDS, KINDS, foreign_fields
from sandbox.plugin_checks import PluginSchemas
from sandbox.settings import Settings
from sandbox.store import EMPTY_HASH, Store


class Node:
    """The reads that are not about entities."""

    def __init__(self, settings: Settings, schemas: PluginSchemas, node_id: str) -> None:
        self._settings, self._schemas, self._node_id = settings, schemas, node_id

    def answer(self, parts: list[str], store: Store) -> None:
        """Raises Reply when the path is one of the node's own."""
        if not parts:
            raise Reply(200, self._root(store))
        if parts[0] == "status":
            self._status(parts, store)
        if parts == ["endpoints"]:
            raise Reply(200, {"data": endpoints()})
        if parts == ["plugins", "enabled"]:
            raise Reply(200, {"enabled_plugins": list(self._settings.plugins)})
        if parts[:2] == ["plugins", "schema"] and len(parts) == 3:
            self._plugin_config(parts[2])
        if parts[0] == "schemas":
            self._schema(parts[1:])

    def _root(self, store: Store) -> dict[str, Any]:
        settings = self._settings
        return {
            "version": "3.9.3",
            "edition": "community",
            "tagline": "Welcome to kong",
            "hostname": platform.node(),
            "node_id": self._node_id,
            "lua_version": "LuaJIT 2.1",
            "pids": {"master": os.getpid(), "workers": [os.getpid()]},
            "timers": {"running": 0, "pending": 0},
            "plugins": {
                "available_on_server": {name: {"version": "3.9.3"} for name in settings.plugins},
                "enabled_in_cluster": sorted({p["name"] for p in store.all("plugins")}),
            },
            "configuration": {
                "database": settings.database,
                "role": settings.role,
                "plugins": list(settings.plugins),
                "proxy_listen": ["{}:{}".format(*settings.proxy_listen)],
                "admin_listen": ["{}:{}".format(*settings.admin_listen)],
                "trusted_ips": [str(network) for network in settings.trusted_ips],
                "real_ip_header": settings.real_ip_header,
                "lua_package_path": settings.lua_package_path,
                "declarative_config": settings.declarative_config,
                "nginx_worker_processes": "1",
                "router_flavor": "traditional_compatible",
                "db_update_frequency": settings.propagation,
                "worker_state_update_frequency": settings.propagation,
            },
            "sandbox": "kgate sandbox: a preview and test tool, not Kong",
        }

    def _status(self, parts: list[str], store: Store) -> None:
        if parts == ["status"]:
            names = ("accepted", "active", "handled", "reading", "waiting", "writing")
            server = {f"connections_{name}": 0 for name in names} | {"total_requests": 0}
            memory: dict[str, Any] = {"lua_shared_dicts": {}, "workers_lua_vms": []}
            answer: dict[str, Any] = {"server": server, "memory": memory}
            if self._settings.database == "off":
                answer["configuration_hash"] = store.hash
            else:
                answer["database"] = {"reachable": True}
            raise Reply(200, answer)
        if parts == ["status", "ready"]:
            if self._settings.database == "off" and store.hash == EMPTY_HASH:
                raise Reply(503, {"message": "no configuration available (empty configuration present)"})
            raise Reply(200, {"message": "ready"})

    def _plugin_config(self, name: str) -> None:
        if name not in self._schemas:
            raise Reply(404, {"message": f"No plugin named '{name}'"})
        config = dict(fields.each(self._schemas[name])).get("config", {})
        raise Reply(200, {"fields": plain(config.get("fields", []))})

    def _schema(self, parts: list[str]) -> None:
        if parts[-1:] == ["validate"]:
            raise Reply(405, {"message": "Method not allowed"})
        if parts[:1] == ["plugins"] and len(parts) == 2:
            schema = self._schemas.get(parts[1])
            if schema is None:
                raise Reply(404, {"message": f"No plugin named '{parts[1]}'"})
            raise Reply(200, {"entity_checks": [], "fields": plain(schema)})
        if len(parts) == 1:
            if parts[0] not in KINDS:
                raise Reply(404, {"message": f"No entity named '{parts[0]}'"})
            raise Reply(200, {"entity_checks": [], "fields": plain(FIELDS[parts[0]])})


def endpoints() -> list[str]:
    """The paths of the Admin API that are there."""
    found = {"/", "/config", "/endpoints", "/plugins/enabled", "/schemas/{name}", "/schemas/plugins/{name}",
             "/schemas/{db_entity_name}/validate", "/status", "/status/ready", "/tags", "/tags/{tags}",
             "/clustering/data-planes", "/clustering/status", "/upstreams/{upstreams}/health",
             "/upstreams/{upstreams}/targets/all",
             "/upstreams/{upstreams}/targets/{targets}/healthy",
             "/upstreams/{upstreams}/targets/{targets}/unhealthy"}  # fmt: skip
    for name, kind in KINDS.items():
        if not kind.path:
            continue
        own = f"/{kind.path}/{{{name}}}"
        found |= {f"/{kind.path}", own}
        found |= {f"{own}/{field}" for field in foreign_fields(name)}
        for child, _ in CHILDREN.get(name, {}).values():
            below = f"{own}/{KINDS[child].nested or KINDS[child].path}"
            found |= {below, f"{below}/{{{child}}}"}
    return sorted(found)


def plain(value: Any) -> Any:
    """A schema as JSON: functions left out, defaults of records written out."""
    if isinstance(value, dict):
        out = {k: plain(v) for k, v in value.items() if not callable(v)}
        if value.get("type") == "record" and value.get("default") == {} and value.get("fields"):
            out["default"] = {k: v for k, v in fields.one(value, {})[0].items() if v is not None}
        return out
    if isinstance(value, list | tuple):
        return [_field(v) if isinstance(v, dict) and len(v) == 1 else plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool) else None


def _field(entry: dict[str, Any]) -> Any:
    """An entry of a record's fields: one that is a record itself is required, if it does not say otherwise."""
    ((name, field),) = entry.items()
    shown = plain(field)
    if isinstance(shown, dict) and shown.get("type") == "record" and "fields" in shown:
        shown.setdefault("required", True)
    return {name: shown}
