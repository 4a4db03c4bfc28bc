"""Render: the model to what one cluster's Kong gets, in its "3.0" format.

Every entity has its id, so that the same file gives the same bytes and the same ids on every node. Routes
that a required passport guards get the tag `kgate-protected` (default deny, the adapter holds it), and the
adapter's two plugins are added for all requests. The result is plain Kong config.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import md5
from typing import Any, NamedTuple

from decl import ids
from decl.adapter import adapter_plugins
from decl.body_files import has_late, with_bodies
from decl.findings import Path
from decl.flatten import without_nulls
from decl.late import Resolver, resolved
from decl.model import Consumer, Gateway, Item, Plugin, Route, Service, Upstream, effective
from decl.plugin_sources import to_kong
from decl.select import select
from decl.url import is_ip_literal, target_text
from decl.walk import reference

PROTECTED_TAG = "kgate-protected"
CANARY_UPSTREAM = "kgate-"
"""Prefix of the upstream that stands in for a service's IP literal: set_upstream fails on one."""

EMPTY_HASH = "0" * 32
"""What a node tells when it holds no entities, whatever the bytes were (kong/db/declarative/init.lua)."""

Entity = dict[str, Any]


class Rendered(NamedTuple):
    """One cluster's config: the document, and the source place of each entity by id."""

    cluster: str
    document: Entity
    origins: dict[str, Path]
    late: bool = False
    """Whether the document may hold references to secrets (decl.late.Late) in place of values."""

    def resolved(self, resolver: Resolver) -> Rendered:
        """The same with every reference replaced by its secret. Raises ValueError for one without a value, and for
        prepared answers that the gate would refuse."""
        if not self.late:
            return self
        return self._replace(document=resolved(self.with_bodies(resolver).document, resolver), late=False)

    def with_bodies(self, resolver: Resolver) -> Rendered:
        """The same with the files of prepared answers read; secrets stay references. Raises ValueError."""
        if not self.late:
            return self
        document = with_bodies(self.document, resolver)
        return self._replace(document=document, late=has_late(document))

    @property
    def content(self) -> bytes:
        """The bytes to push: canonical JSON, which is YAML as well."""
        if self.late:
            raise ValueError(
                "the config refers to secrets (!env, !file) that were not read: resolve it first"
            )
        return canonical(self.document)

    @property
    def hash(self) -> str:
        """What a node's /status says when it holds exactly these bytes: their md5."""
        if not any(isinstance(items, list) and items for items in self.document.values()):
            return EMPTY_HASH
        return md5(self.content, usedforsecurity=False).hexdigest()


def canonical(document: Entity) -> bytes:
    """JSON with sorted keys and no spaces: the same document is the same bytes."""
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def render(gateway: Gateway, cluster: str, tenant: str | None = None) -> Rendered:
    """Render one cluster of an expanded gateway; with `tenant` only that tenant's services.

    cluster is a name of gateway.clusters, or any name when there are none. Raises KeyError for another name.
    """
    return _Renderer(select(gateway, cluster, tenant), cluster).rendered()


class _Renderer:
    def __init__(self, gateway: Gateway, cluster: str) -> None:
        self._gateway = gateway
        self._cluster = cluster
        self._origins: dict[str, Path] = {}
        self._snis: list[Entity] = []
        self._service_ids = {s.name: _own_id(s.fields, "services", s.name) for s in gateway.services}
        self._route_ids = {r.name: _own_id(r.fields, "routes", r.name) for _, r in gateway.all_routes()}
        self._consumer_ids = {c.name: _consumer_id(c) for c in gateway.consumers}

    def rendered(self) -> Rendered:
        gateway = self._gateway
        made: list[Entity] = []
        services = [self._service(service, made) for service in gateway.services]
        lists = {
            "services": services,
            "routes": [self._route(route, None) for route in gateway.routes],
            "plugins": [self._plugin(plugin) for plugin in gateway.plugins] + self._adapter(),
            "upstreams": [self._upstream(upstream) for upstream in gateway.upstreams] + made,
            "consumers": [self._consumer(consumer) for consumer in gateway.consumers],
        }
        for item in gateway.items:
            lists.setdefault(item.kind, []).append(self._item(item))
        if self._snis:
            lists.setdefault("snis", []).extend(self._snis)
        document: Entity = {"_format_version": "3.0"}
        document.update((name, items) for name, items in lists.items() if items)
        return Rendered(self._cluster, document, self._origins, gateway.late)

    def _origin(self, entity_id: str, path: Path) -> str:
        self._origins[entity_id] = path
        return entity_id

    def _adapter(self) -> list[Entity]:
        known = self._gateway.clusters.get(self._cluster)
        plugins = adapter_plugins(self._gateway, known.run_dir if known else None)
        for plugin in plugins:
            plugin["id"] = self._origin(ids.plugin_id(plugin["name"]), known.path if known else ())
        return plugins

    def _service(self, service: Service, made: list[Entity]) -> Entity:
        own_id = self._origin(self._service_ids[service.name], service.path)
        host = service.host
        if is_ip_literal(host) and self._has_canary(service):
            upstream = self._stand_in(service)
            made.append(upstream)
            host = upstream["name"]
        entity: Entity = {
            **service.fields,
            "id": own_id,
            "name": service.name,
            "protocol": service.protocol,
            "host": host,
            "port": service.port,
        }
        if not service.named:
            del entity["name"]
        _put(entity, "tags", service.tags)
        _put(entity, "plugins", [self._plugin(plugin, service_id=own_id) for plugin in service.plugins])
        _put(entity, "routes", [self._route(route, service) for route in service.routes])
        return entity

    def _has_canary(self, service: Service) -> bool:
        return any("canary-router" in effective(self._gateway, service, route) for route in service.routes)

    def _stand_in(self, service: Service) -> Entity:
        name = CANARY_UPSTREAM + service.name.replace("~", "-")
        upstream_id = self._origin(ids.entity_id("upstreams", name), service.path)
        target = target_text(service.host, service.port)
        entity: Entity = {"id": upstream_id, "name": name}
        _put(entity, "tags", service.tags)
        target_id = self._origin(ids.target_id(upstream_id, target), service.path)
        return {**entity, "targets": [{"id": target_id, "target": target}]}

    def _route(self, route: Route, service: Service | None) -> Entity:
        own_id = self._origin(self._route_ids[route.name], route.path)
        tags = route.tags
        passport = effective(self._gateway, service, route).get("passport")
        if passport is not None and (passport.config.get("mode") or "required") == "required":
            tags = (*(tag for tag in tags if tag != PROTECTED_TAG), PROTECTED_TAG)
        entity: Entity = {**route.fields, "id": own_id}
        if route.named or "id" not in route.fields:
            entity["name"] = route.name
        _put(entity, "tags", tags)
        _put(entity, "plugins", [self._plugin(plugin, route_id=own_id) for plugin in route.plugins])
        return entity

    def _plugin(
        self,
        plugin: Plugin,
        route_id: str = "",
        service_id: str = "",
        consumer_id: str = "",
        consumer_group: str = "",
    ) -> Entity:
        foreign = {
            "service": self._service_ids.get(plugin.service or ""),
            "route": self._route_ids.get(plugin.route or ""),
            "consumer": self._consumer_ids.get(plugin.consumer or ""),
        }
        own_id = plugin.fields.get("id") or ids.plugin_id(
            f"{plugin.name}:{consumer_group}" if consumer_group else plugin.name,
            route_id or foreign["route"] or "",
            service_id or foreign["service"] or "",
            consumer_id or foreign["consumer"] or "",
        )
        entity: Entity = {**plugin.fields, "id": self._origin(own_id, plugin.path), "name": plugin.name}
        entity.update((field, value) for field, value in foreign.items() if value)
        # to Kong a null is no absent field: it refuses one where a value must be, and fills in no default
        _put(entity, "config", without_nulls(to_kong(plugin.name, plugin.config)))
        return entity

    def _upstream(self, upstream: Upstream) -> Entity:
        own_id = self._origin(_own_id(upstream.fields, "upstreams", upstream.name), upstream.path)
        entity: Entity = {**upstream.fields, "id": own_id, "name": upstream.name}
        _put(entity, "tags", upstream.tags)
        targets = []
        for target in upstream.targets:
            target_id = target.fields.get("id") or ids.target_id(own_id, target.target)
            targets.append(
                {**target.fields, "id": self._origin(target_id, target.path), "target": target.target}
            )
            _put(targets[-1], "tags", target.tags)
        _put(entity, "targets", targets)
        return entity

    def _consumer(self, consumer: Consumer) -> Entity:
        own_id = self._origin(self._consumer_ids[consumer.name], consumer.path)
        entity: Entity = {**consumer.fields, "id": own_id}
        entity.pop("groups", None)  # Kong Enterprise alone knows them: lint has told
        _put(entity, "tags", consumer.tags)
        for credential in consumer.credentials:
            credential_id = credential.fields.get("id") or ids.credential_id(
                credential.kind, own_id, credential.key
            )
            item = {**credential.fields, "id": self._origin(credential_id, credential.path)}
            if credential.kind == "keyauth_credentials":
                item.pop("name", None)  # ours: Kong has no such field
            _put(item, "tags", credential.tags)
            entity.setdefault(credential.kind, []).append(item)
        _put(entity, "plugins", [self._plugin(plugin, consumer_id=own_id) for plugin in consumer.plugins])
        return entity

    def _item(self, item: Item, parent_id: str = "") -> Entity:
        made = (
            ids.key_id(str(item.fields["kid"]), parent_id or _set_of(item.fields))
            if item.kind == "keys"
            else ids.entity_id(item.kind, item.name)
        )
        own_id = self._origin(str(item.fields.get("id") or made), item.path)
        entity: Entity = {**item.fields, "id": own_id}
        if isinstance(entity.get("jwk"), dict):
            entity["jwk"] = canonical(entity["jwk"]).decode()
        _put(entity, "tags", item.tags)
        for kind, children in item.children.items():
            made_children = [self._item(child, own_id) for child in children]
            if kind == "snis":
                # Kong 3.9 refuses one with an id within its certificate: "certificate: required field missing"
                self._snis += [{**child, "certificate": own_id} for child in made_children]
            else:
                _put(entity, kind, made_children)
        _put(entity, "plugins", [self._plugin(plugin, consumer_group=item.name) for plugin in item.plugins])
        return entity


def _set_of(fields: Any) -> str:
    return ids.entity_id("key_sets", str(reference(fields.get("set")) or "")) if "set" in fields else ""


def _own_id(fields: Any, kind: str, name: str) -> str:
    return str(fields.get("id") or ids.entity_id(kind, name))


def _consumer_id(consumer: Consumer) -> str:
    if "username" in consumer.fields:
        return _own_id(consumer.fields, "consumers", consumer.name)
    # Kong would draw a random id: it has no rule for a consumer without a username
    return _own_id(consumer.fields, "consumers", f"custom_id:{consumer.name}")


def _put(entity: Entity, name: str, value: Iterable[Any]) -> None:
    """Empty lists and maps are left out: Kong fills in its own defaults."""
    if value:
        entity[name] = list(value) if isinstance(value, tuple) else value
