"""Routes: Kong refuses one that says nothing of the requests it wants (an `@entity` check in its schema)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl.findings import Problem
from decl.kong.entities import one_of
from decl.walk import Entity, reference

_DEFAULT = ["http", "https"]


def check_routes(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """Routes without any matching field; the hosts of a tenant count for the routes of its services."""
    entities = tuple(entities)
    info = document.get("_info")
    given = info.get("defaults") if isinstance(info, dict) else None
    defaults = given.get("route") if isinstance(given, dict) else None
    with_hosts = {
        entity.text("name")
        for entity in entities
        if entity.kind == "tenants" and isinstance(entity.values.get("hosts"), list)
    }
    tenant_of = {
        entity.text("name"): entity.text("tenant") for entity in entities if entity.kind == "services"
    }
    for entity in entities:
        if entity.kind != "routes":
            continue
        held = {**defaults, **entity.values} if isinstance(defaults, dict) else entity.values
        protocols = held.get("protocols", _DEFAULT)
        if not isinstance(protocols, list) or not all(isinstance(name, str) for name in protocols):
            continue
        fields = one_of(set(protocols))
        if not fields or any(held.get(field) for field in fields):
            continue
        service = entity.parent.text("name") if entity.parent else reference(entity.values.get("service"))
        if "hosts" not in fields or tenant_of.get(service) not in with_hosts:
            yield Problem(entity.path, "missing-field", f"one of {', '.join(fields)} is needed")
