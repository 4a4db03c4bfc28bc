"""The Admin API of a DB-less Kong: status, reads, and POST /config."""

from __future__ import annotations

import base64
import json
import logging
import os
import platform
import urllib.parse
from collections.abc import Callable
from typing import Any

import yaml

from sandbox import http_errors
from sandbox.declarative import Reply, html, invalid, load, read_config
from sandbox.entities import CHILDREN, FIELDS, UNIQUE
from sandbox.http1 import BodyTooLarge, Request
from sandbox.settings import Settings
from sandbox.store import EMPTY_HASH, Entity, Store
from sandbox.validate import InvalidConfig, PluginSchemas

log = logging.getLogger("sandbox")
_MAX_BODY = 10 << 20
_ALIASES = {"key-auths": "keyauth_credentials", "key-auth": "keyauth_credentials"}


class Admin:
    """Handles requests of the admin listener.

    apply: makes a new store the one in force.
    """

    def __init__(
        self, settings: Settings, schemas: PluginSchemas, node_id: str, apply: Callable[[Store], None]
    ) -> None:
        self._settings, self._schemas, self._node_id = settings, schemas, node_id
        self._apply = apply
        self.store = Store()

    async def handle(self, request: Request) -> None:
        """One request. Raises Abort."""
        try:
            if request.error is not None:
                raise html(request.error)
            body = await request.read(_MAX_BODY)
            self._dispatch(request, body)
            reply = Reply(404, {"message": "Not found"})
        except BodyTooLarge:
            request.error = 413
            reply = html(413)
        except Reply as e:
            reply = e
        await self._send(request, reply)

    async def _send(self, request: Request, reply: Reply) -> None:
        data, kind = b"", "application/json; charset=utf-8"
        if isinstance(reply.body, str):
            data, kind = reply.body.encode(), "text/html; charset=UTF-8"
        elif reply.body is not None:
            data = json.dumps(reply.body, separators=(",", ":"), ensure_ascii=False).encode(
                "utf-8", "replace"
            )
        headers = [("Server", "kong/3.9.3"), ("Access-Control-Allow-Origin", "*"), *reply.headers]
        if data:
            headers.append(("Content-Type", kind))
        if reply.status != 204 and reply.status != 304:
            headers.append(("Content-Length", str(len(data))))
        shown = b"" if request.method == "HEAD" else data
        await request.connection.respond(reply.status, http_errors.reason(reply.status), headers, shown)

    def _dispatch(self, request: Request, body: bytes) -> None:
        path, _, raw_query = request.target.partition("?")
        query = dict(urllib.parse.parse_qsl(raw_query, keep_blank_values=True))
        parts = [urllib.parse.unquote(part) for part in path.split("/") if part]
        reading = request.method in ("GET", "HEAD")
        if parts == ["config"]:
            self._config(request, query, body)
        if not parts and reading:
            raise Reply(200, self._root())
        if parts[:1] == ["status"] and reading:
            self._status(parts)
        if parts[:2] == ["schemas", "plugins"] and len(parts) == 3 and reading:
            self._plugin_schema(parts[2])
        if parts:
            self._entities(request.method, parts, query)

    # -- the node ------------------------------------------------------------------------------------------
    def _root(self) -> dict[str, Any]:
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
                "available_on_server": dict.fromkeys(self._settings.plugins, True),
                "enabled_in_cluster": sorted({p["name"] for p in self.store.all("plugins")}),
            },
            "configuration": {
                "database": "off",
                "role": "traditional",
                "plugins": list(self._settings.plugins),
                "proxy_listen": ["{}:{}".format(*self._settings.proxy_listen)],
                "admin_listen": ["{}:{}".format(*self._settings.admin_listen)],
                "trusted_ips": [str(network) for network in self._settings.trusted_ips],
                "real_ip_header": self._settings.real_ip_header,
                "lua_package_path": self._settings.lua_package_path,
                "declarative_config": self._settings.declarative_config,
                "nginx_worker_processes": "1",
                "router_flavor": "traditional_compatible",
            },
            "sandbox": "kgate sandbox: a preview and test tool, not Kong",
        }

    def _status(self, parts: list[str]) -> None:
        if parts == ["status"]:
            server = dict.fromkeys(
                ("connections_accepted", "connections_active", "connections_handled", "total_requests"), 0
            )
            raise Reply(
                200,
                {"configuration_hash": self.store.hash, "server": server, "database": {"reachable": True}},
            )
        if parts == ["status", "ready"]:
            if self.store.hash == EMPTY_HASH:
                raise Reply(503, {"message": "no configuration available (empty configuration present)"})
            raise Reply(200, {"message": "ready"})

    def _plugin_schema(self, name: str) -> None:
        if name not in self._schemas:
            raise Reply(404, {"message": f"No plugin named '{name}'"})
        raise Reply(200, {"entity_checks": [], "fields": _plain(self._schemas[name])})

    # -- entities ------------------------------------------------------------------------------------------
    def _entities(self, method: str, parts: list[str], query: dict[str, str]) -> None:
        kind = _ALIASES.get(parts[0], parts[0])
        parent: tuple[str, Entity] | None = None
        rest = parts[1:]
        if kind not in FIELDS:
            return
        if len(rest) >= 2:
            child = _ALIASES.get(rest[1], rest[1])
            nested = CHILDREN.get(kind, {}).get(child)
            if nested is None and (kind, child) != ("routes", "service"):
                return
            owner = self.store.find(kind, rest[0])
            if owner is None:
                raise Reply(404, {"message": "Not found"})
            if nested is None:
                found = self.store.entities["services"].get((owner.get("service") or {}).get("id", ""))
                raise Reply(200, found) if found else Reply(404, {"message": "Not found"})
            kind, parent, rest = child, (nested[1], owner), rest[2:]
            if kind == "targets" and rest == ["all"]:
                rest = []
        if method not in ("GET", "HEAD"):
            self._write(method, kind, rest)
        if rest:
            entity = self.store.find(kind, rest[0])
            if entity is None or (parent and (entity.get(parent[0]) or {}).get("id") != parent[1]["id"]):
                raise Reply(404, {"message": "Not found"})
            raise Reply(200, entity)
        items = self.store.children(kind, parent[0], parent[1]["id"]) if parent else self.store.all(kind)
        self._page("/" + "/".join(parts), items, query)

    def _page(self, path: str, items: list[Entity], query: dict[str, str]) -> None:
        if query.get("tags"):
            items = self.store.tagged(items, query["tags"])
        size = int(query["size"]) if query.get("size", "").isdigit() else 100
        if not 1 <= size <= 1000:
            raise Reply(400, {"message": "size must be an integer between 1 and 1000"})
        start = 0
        if query.get("offset"):
            try:
                start = int(base64.urlsafe_b64decode(query["offset"]).decode())
            except ValueError:
                raise Reply(400, {"message": f"invalid offset: {query['offset']}"}) from None
        page: dict[str, Any] = {"data": items[start : start + size], "next": None}
        if start + size < len(items):
            page["offset"] = base64.urlsafe_b64encode(str(start + size).encode()).decode()
            more = {k: v for k, v in query.items() if k != "offset"} | {"offset": page["offset"]}
            page["next"] = f"{path}?{urllib.parse.urlencode(more)}"
        raise Reply(200, page)

    def _write(self, method: str, kind: str, rest: list[str]) -> None:
        verbs = {"POST": "create", "PUT": "create or update", "PATCH": "update", "DELETE": "remove"}
        if method not in verbs:
            raise Reply(405, {"message": "Method not allowed"})
        by = ""
        if rest:
            by = "" if rest[0] in self.store.entities[kind] else f" by '{UNIQUE.get(kind, 'name')}'"
        message = f"cannot {verbs[method]} '{kind}' entities{by} when not using a database"
        raise Reply(405, {"code": 12, "name": "operation unsupported", "message": message})

    # -- POST /config --------------------------------------------------------------------------------------
    def _config(self, request: Request, query: dict[str, str], body: bytes) -> None:
        if request.method in ("GET", "HEAD"):
            raise Reply(200, {"config": self._dump()})
        if request.method == "OPTIONS":
            raise Reply(204, None, (("Allow", "GET, HEAD, OPTIONS, POST"),))
        if request.method != "POST":
            raise Reply(405, {"message": "Method not allowed"})
        config, digest = read_config(request, body)
        if query.get("check_hash") not in (None, "", "0", "false") and digest == self.store.hash and digest:
            raise Reply(304)
        try:
            store = load(config, digest, self._schemas)
        except InvalidConfig as e:
            raise Reply(400, invalid(e, query.get("flatten_errors") not in (None, "", "0", "false"))) from e
        self.store = store
        self._apply(store)
        log.info("configuration loaded: %s", store.hash)
        raise Reply(201, {kind: items for kind, items in store.entities.items() if items})

    def _dump(self) -> str:
        lists: dict[str, Any] = {
            kind: list(items.values()) for kind, items in self.store.entities.items() if items
        }
        return yaml.safe_dump({"_format_version": "3.0", "_transform": False, **lists}, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not callable(v)}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool) else None
