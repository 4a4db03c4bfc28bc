"""Build the typed model from a document that the validation has passed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from decl.build_cluster import build_cluster
from decl.file_kinds import CREDENTIALS
from decl.findings import Path
from decl.items import build_items
from decl.model import (
    Consumer,
    Credential,
    Gateway,
    Issuer,
    Plugin,
    Route,
    Service,
    Target,
    Tenant,
    Upstream,
)
from decl.policies import health, retry
from decl.url import DEFAULT_PORT, parse_url
from decl.walk import reference

_DROPPED = frozenset(("_comment", "_ignore", "created_at", "updated_at"))
"""Notes for people, and times that Kong keeps itself."""

_OWN = _DROPPED | {"name", "tags"}
_SERVICE = _OWN | {"retry", "routes", "plugins", "tenant", "url", "protocol", "host", "port"}
_ROUTE = _OWN | {"service", "plugins"}
_PLUGIN = _DROPPED | {"name", "config", "_config", "service", "route", "consumer"}
_UPSTREAM = _OWN | {"health", "targets", "tenant"}
_TARGET = _DROPPED | {"target", "upstream", "tags"}
_CONSUMER = _DROPPED | {"tags", "plugins", *CREDENTIALS}
_CREDENTIAL = _DROPPED | {"consumer", "tags"}
_PLAIN_PATH = re.compile(r"[a-zA-Z0-9._~/%-]*")
_MATCHES = ("protocols", "methods", "hosts", "paths", "headers", "snis", "sources", "destinations")

Document = Mapping[str, Any]
Placed = tuple[Path, Document]


def build(document: Document) -> Gateway:
    """The model. The document must be free of errors: KeyError and the like are bugs otherwise."""
    return _Builder(document).gateway()


def _with_budget(plugins: tuple[Plugin, ...], block: Document) -> tuple[Plugin, ...]:
    """Plugins of a service with its retry budget in each static-fallback."""

    def changed(plugin: Plugin) -> Plugin:
        if plugin.name != "static-fallback":
            return plugin
        return replace(plugin, config=retry.with_budget(block, plugin.config))

    return tuple(map(changed, plugins))


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        info = document.get("_info", {})
        self._defaults: Document = info.get("defaults", {})
        self._of_tenants: dict[str, Document] = {
            values["name"]: values.get("defaults", {}) for _, values in self._top("tenants")
        }
        """They go before those of the file, which are for all."""
        self._tags: tuple[str, ...] = tuple(info.get("select_tags", ()))
        self._old = document.get("_format_version") in ("1.1", "2.1")
        self._names: dict[tuple[str, str], str] = {}
        """(kind, id) -> name, for references by id."""
        self._loose: dict[tuple[str, str], list[Placed]] = defaultdict(list)
        """(kind.parent, parent's name) -> children that stand at the top level."""

    def gateway(self) -> Gateway:
        self._index()
        everywhere = self._loose["plugins", ""]
        clusters = self._document.get("clusters", {})
        return Gateway(
            services=tuple(self._service(*item) for item in self._top("services")),
            routes=tuple(self._route(*item, None) for item in self._loose["routes", ""]),
            plugins=tuple(_plugin(*item, self._tags) for item in everywhere),
            upstreams=tuple(self._upstream(*item) for item in self._top("upstreams")),
            consumers=tuple(self._consumer(*item) for item in self._top("consumers")),
            tenants={values["name"]: _tenant(path, values) for path, values in self._top("tenants")},
            clusters={name: build_cluster(name, values or {}) for name, values in clusters.items()},
            select_tags=self._tags,
            issuers=tuple(Issuer(values["name"], path, values) for path, values in self._top("issuers")),
            items=build_items(self._document, self._tags),
        )

    def _top(self, kind: str) -> Iterable[Placed]:
        return (
            ((kind, index), values) for index, values in enumerate(self._document.get(kind, ())) if values
        )

    def _index(self) -> None:
        for kind, key in (("services", "name"), ("upstreams", "name"), ("consumers", "username")):
            for _, values in self._top(kind):
                self._remember(kind, values, key)
        nested = (route for _, service in self._top("services") for route in service.get("routes", ()))
        for route in (*nested, *(values for _, values in self._top("routes"))):
            self._remember("routes", route, "name")
        for kind, field, parent in (
            ("routes", "service", "services"),
            ("targets", "upstream", "upstreams"),
            *((kind, "consumer", "consumers") for kind in CREDENTIALS),
        ):
            for item in self._top(kind):
                name = self._name(parent, item[1].get(field)) or ""
                self._loose[kind if not name else f"{parent}.{kind}", name].append(item)
        for item in self._top("plugins"):
            self._loose[self._scope(item[1])].append(item)

    def _remember(self, kind: str, values: Document, key: str) -> None:
        name = values.get(key) or values.get("custom_id") or values.get("id")
        if name is not None and "id" in values:
            self._names[kind, values["id"]] = name

    def _name(self, kind: str, value: Any) -> str | None:
        name = reference(value)
        return None if name is None else self._names.get((kind, name), name)

    def _scope(self, plugin: Document) -> tuple[str, str]:
        """A plugin of several scopes stands in the most specific one."""
        for kind, field in (("routes", "route"), ("services", "service"), ("consumers", "consumer")):
            name = self._name(kind, plugin.get(field))
            if name is not None:
                return f"{kind}.plugins", name
        return "plugins", ""

    def _children(
        self, kind: str, name: str | None, path: Path, values: Document, child: str
    ) -> Iterable[Placed]:
        for index, item in enumerate(values.get(child, ())):
            yield (*path, child, index), item
        if name is not None:
            yield from self._loose.get((f"{kind}.{child}", name), ())

    def _tagged(self, values: Document) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*values.get("tags", ()), *self._tags)))

    def _plugins(self, kind: str, name: str | None, path: Path, values: Document) -> tuple[Plugin, ...]:
        found = []
        for plugin_path, plugin in self._children(kind, name, path, values, "plugins"):
            scopes = {
                field: self._name(scope, plugin.get(field))
                for scope, field in (("services", "service"), ("routes", "route"), ("consumers", "consumer"))
                if scope != kind
            }
            found.append(_plugin(plugin_path, plugin, self._tags, **scopes))
        return tuple(found)

    def _service(self, path: Path, values: Document) -> Service:
        common = self._defaults.get("service", {})
        tenant = values.get("tenant", common.get("tenant"))
        inherited = self._of_tenants.get(tenant, {})
        values = {**common, **inherited.get("service", {}), **values}
        name = values.get("name") or values["id"]
        if "url" in values:
            protocol, host, port, url_path = parse_url(values["url"])
        else:
            protocol, host = values.get("protocol", "http"), values["host"]
            port, url_path = values.get("port", DEFAULT_PORT), values.get("path")
        fields = _without(values, _SERVICE | {"path"})
        if url_path is not None:
            fields["path"] = url_path
        block = values.get("retry")
        if block is not None:
            fields.update(retry.fields(block, {}))
        children = self._children("services", name, path, values, "routes")
        routes = tuple(self._route(*item, name, inherited.get("route", {})) for item in children)
        plugins = self._plugins("services", name, path, values)
        if block is not None:
            plugins = _with_budget(plugins, block)
            routes = tuple(replace(route, plugins=_with_budget(route.plugins, block)) for route in routes)
        return Service(
            name=name,
            path=path,
            protocol=protocol,
            host=host,
            port=port,
            fields=fields,
            tenant=tenant,
            routes=routes,
            plugins=plugins,
            tags=self._tagged(values),
            named="name" in values,
        )

    def _route(
        self, path: Path, values: Document, service: str | None, inherited: Document | None = None
    ) -> Route:
        of_tenant = {field: value for field, value in (inherited or {}).items() if field not in values}
        values = {**self._defaults.get("route", {}), **values}
        if self._old and values.get("paths"):
            values = {**values, "paths": [with_tilde(path) for path in values["paths"]]}
        key = values.get("name") or values.get("id")
        return Route(
            name=values.get("name") or made_name(values, service),
            path=path,
            fields=_without({**values, **of_tenant}, _ROUTE),
            plugins=self._plugins("routes", key, path, values),
            tags=self._tagged(values),
            named="name" in values,
        )

    def _upstream(self, path: Path, values: Document) -> Upstream:
        values = {**self._defaults.get("upstream", {}), **values}
        name = values["name"]
        targets = []
        for target_path, target in self._children("upstreams", name, path, values, "targets"):
            target = {**self._defaults.get("target", {}), **target}
            tags = self._tagged(target)
            targets.append(Target(_with_port(target["target"]), target_path, _without(target, _TARGET), tags))
        fields = _without(values, _UPSTREAM)
        if values.get("health") is not None:
            fields["healthchecks"] = health.healthchecks(values["health"])
        return Upstream(name, path, fields, tuple(targets), self._tagged(values), values.get("tenant"))

    def _consumer(self, path: Path, values: Document) -> Consumer:
        values = {**self._defaults.get("consumer", {}), **values}
        name = values.get("username") or values["custom_id"]
        credentials = []
        for kind, public in CREDENTIALS.items():
            for index, (at, item) in enumerate(self._children("consumers", name, path, values, kind)):
                key = item.get(public) or f"#{index}"
                fields = _without(item, _CREDENTIAL)
                credentials.append(Credential(kind, str(key), at, fields, self._tagged(item)))
        plugins = self._plugins("consumers", name, path, values)
        return Consumer(
            name, path, _without(values, _CONSUMER), tuple(credentials), plugins, self._tagged(values)
        )


def _without(values: Document, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _plugin(path: Path, values: Document, tags: tuple[str, ...] = (), **scopes: str | None) -> Plugin:
    fields = _without(values, _PLUGIN)
    if tags:
        fields["tags"] = list(dict.fromkeys((*fields.get("tags", ()), *tags)))
    return Plugin(values["name"], path, values.get("config", {}), fields, **scopes)


def _tenant(path: Path, values: Document) -> Tenant:
    return Tenant(
        name=values["name"],
        path=path,
        cluster=values.get("cluster"),
        standby=values.get("standby"),
        hosts=tuple(values.get("hosts", ())),
        owner=values.get("owner"),
        plugins=tuple(
            _plugin((*path, "plugins", index), plugin)
            for index, plugin in enumerate(values.get("plugins", ()))
        ),
        tags=tuple(values.get("tags", ())),
        limits=values.get("limits", {}),
        dns=values.get("dns", {}),
    )


def made_name(values: Document, service: str | None) -> str:
    """A name for an unnamed route: by what it matches, so it stays when others come and go."""
    matches = json.dumps({field: values[field] for field in _MATCHES if field in values}, sort_keys=True)
    digest = hashlib.sha256(matches.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{service or 'route'}-{digest[:10]}"


def with_tilde(path: str) -> str:
    """A path of the formats before 3.0, where a regular expression was told by its characters.

    Kong does the same to such files (kong/db/migrations/migrate_path_280_300.lua); render writes 3.0.
    """
    return path if path.startswith("~") or _PLAIN_PATH.fullmatch(path) else f"~{path}"


def _with_port(target: str) -> str:
    """Kong adds its default port to a target without one; the id is made of the full form."""
    if target.startswith("["):
        return target if "]:" in target else f"{target}:8000"
    if target.count(":") > 1:  # an IPv6 address without brackets has no port
        return f"[{target}]:8000"
    return target if ":" in target else f"{target}:8000"
