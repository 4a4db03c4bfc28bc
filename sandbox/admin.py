"""The Admin API: transport and the parts it is made of.

Without a database entities are read-only and come with POST /config; with one they are written one by one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import yaml

from sandbox import admin_paths, http_errors
from sandbox.admin_entities import Entities, options
from sandbox.admin_health import TargetHealth
from sandbox.admin_node import Node
from sandbox.clustering import DataPlanes
from sandbox.database import Database
from sandbox.declarative import Reply, html, invalid, load, read_config
from sandbox.exchange import get_first
from sandbox.health import Health
from sandbox.plugin_checks import PluginSchemas
from sandbox.request import BodyTooLarge, Request
from sandbox.settings import Settings
from sandbox.store import Store
from sandbox.validate import InvalidConfig

log = logging.getLogger("sandbox")
_MAX_BODY = 10 << 20
_ONLY_DBLESS = "this endpoint is only available when Kong is configured to not use a database"
_NOT_ALLOWED = {"message": "Method not allowed"}


class Admin:
    """Handles requests of the admin listener.

    apply: makes a new store the one in force. database: a shared one, for several nodes of one cluster; a node
    of its own in DB mode makes its own. health: which targets the balancer thinks are well.
    """

    def __init__(
        self,
        settings: Settings,
        schemas: PluginSchemas,
        node_id: str,
        apply: Callable[[Store], None],
        database: Database | None = None,
        health: Health | None = None,
    ) -> None:
        self._settings, self._schemas, self._apply = settings, schemas, apply
        self._database = database or (Database(schemas) if settings.database != "off" else None)
        self._store = Store()
        self._pending: asyncio.TimerHandle | None = None
        self._applying = 0.0  # seconds that the last one took: a large configuration is applied less often
        self._planes = DataPlanes(settings.role, settings.data_planes, settings.data_plane_delay)
        self._node = Node(settings, schemas, node_id)
        self._entities = Entities(lambda: self.store, self._database, self._checker, self._written)
        self._health = TargetHealth(lambda: self.store, health, node_id)

    @property
    def store(self) -> Store:
        """The configuration as the Admin API shows it."""
        return self._database.store if self._database else self._store

    @store.setter
    def store(self, store: Store) -> None:
        self._store = store
        if self._database:
            self._database.store = store

    def close(self) -> None:
        """Nothing is applied any more."""
        if self._pending:
            self._pending.cancel()

    async def handle(self, request: Request) -> None:
        """One request. Raises Abort."""
        started = time.monotonic()
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
        await self._send(request, reply, round((time.monotonic() - started) * 1000))

    async def _send(self, request: Request, reply: Reply, took: int) -> None:
        data, kind = b"", "application/json; charset=utf-8"
        page = isinstance(reply.body, str)
        if page:
            data, kind = reply.body.encode(), "text/html; charset=UTF-8"
        elif reply.body is not None:
            data = json.dumps(reply.body, separators=(",", ":"), ensure_ascii=False).encode(
                "utf-8", "surrogateescape"
            )
        headers = [("Server", "kong/3.9.3"), *reply.headers]
        if request.error != 400:  # nginx's own
            headers.append(("Access-Control-Allow-Origin", "*"))
        headers.append(("X-Kong-Admin-Latency", str(took)))
        if data:
            headers.append(("Content-Type", kind))
        if reply.status != 204 and reply.status != 304:
            headers.append(("Content-Length", str(len(data))))
        shown = b"" if request.method == "HEAD" else data
        await request.connection.respond(reply.status, http_errors.reason(reply.status), headers, shown)

    def _dispatch(self, request: Request, body: bytes) -> None:
        path, _, raw_query = request.target.partition("?")
        if request.method in ("TRACE", "CONNECT"):
            request.error = 405
            raise html(405)
        if "//" in path:
            return
        query = dict(urllib.parse.parse_qsl(raw_query, keep_blank_values=True))
        parts = [urllib.parse.unquote(part, errors="surrogateescape") for part in path.split("/") if part]
        if parts == ["config"]:
            self._config(request, query, body)
        if request.method in ("GET", "HEAD"):
            self._node.answer(parts, self.store)
        elif not parts:
            raise options("GET, HEAD, OPTIONS") if request.method == "OPTIONS" else Reply(405, _NOT_ALLOWED)
        if parts[0] == "clustering":
            self._planes.answer(request.method, parts, query)
        self._health.answer(request.method, parts)
        if len(parts) == 3 and parts[0] == "schemas" and parts[2] == "validate":
            self._validate(request, parts[1], body)
        only = admin_paths.only_method(parts)
        if only and request.method not in ("GET", "HEAD"):
            raise options(only) if request.method == "OPTIONS" else Reply(405, _NOT_ALLOWED)
        self._entities.answer(request.method, parts, query, lambda: read_fields(request, body))

    def _validate(self, request: Request, kind: str, body: bytes) -> None:
        from sandbox.entities import KINDS

        if request.method != "POST":
            raise Reply(405, _NOT_ALLOWED)
        if kind not in KINDS:
            raise Reply(404, {"message": f"No entity named '{kind}'"})
        fields = read_fields(request, body)
        if not isinstance(fields, dict):
            raise Reply(500, {"message": "An unexpected error occurred"})
        self._checker(self.store).complete(kind, fields, resolve=False)
        raise Reply(200, {"message": "schema validation successful"})

    def _checker(self, store: Store) -> Database:
        database = Database(self._schemas)
        database.store = store
        return database

    def _written(self) -> None:
        """After a write: workers follow after a while, as in Kong, and once for many writes."""
        self._planes.changed(self.store)
        if self._pending is None:
            loop = asyncio.get_running_loop()
            delay = max(self._settings.propagation, min(10 * self._applying, 1.0))
            self._pending = loop.call_later(delay, self._propagate)

    def _propagate(self) -> None:
        self._pending = None
        started = time.monotonic()
        self._apply(self.store)
        self._applying = time.monotonic() - started

    # -- POST /config --------------------------------------------------------------------------------------
    def _config(self, request: Request, query: dict[str, str], body: bytes) -> None:
        if self._database is not None:
            raise Reply(400, {"message": _ONLY_DBLESS})
        if request.method in ("GET", "HEAD"):
            raise Reply(200, {"config": self._dump()})
        if request.method == "OPTIONS":
            raise options("GET, HEAD, OPTIONS, POST")
        if request.method != "POST":
            raise Reply(405, _NOT_ALLOWED)
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


def read_fields(request: Request, body: bytes) -> Any:
    """The fields of a write: JSON, or a form whose `a[]` names are lists and whose `a.b` names are records.

    Raises Reply.
    """
    header = get_first(request.headers, "content-type")
    kind = (header or "").partition(";")[0].strip().lower()
    if not body and header is None:
        return {}
    if kind == "application/json":
        try:
            found = json.loads(body.decode("utf-8", "surrogateescape"))
            return {} if found == [] else found  # both are an empty table
        except ValueError:
            raise Reply(400, {"message": "Cannot parse JSON body"}) from None
    if kind != "application/x-www-form-urlencoded":
        raise html(415)
    fields: dict[str, Any] = {}
    for name, value in urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        where = fields
        *outer, last = name.split(".")
        for part in outer:
            where = where.setdefault(part, {})
        if re.search(r"\[\d*\]$", last):
            where.setdefault(re.sub(r"\[\d*\]$", "", last), []).append(_inferred(value))
        else:
            where[last] = _inferred(value)
    return fields


def _inferred(text: str) -> Any:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return {"true": True, "false": False, "": None}.get(text, text)
