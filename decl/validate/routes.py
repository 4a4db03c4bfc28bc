"""Routes: Kong refuses one that says nothing of the requests it wants (an `@entity` check in its schema)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from decl.findings import Problem
from decl.walk import Entity, reference

_HTTP = ("methods", "hosts", "headers", "paths", "snis")
_STREAM = ("sources", "destinations", "snis")
_STREAM_PROTOCOLS = frozenset(("tcp", "tls", "udp", "tls_passthrough"))


def check_routes(document: Mapping[str, Any], entities: Iterable[Entity]) -> Iterator[Problem]:
    """Routes without any matching field; the hosts of a tenant count for the routes of its services."""
    entities = tuple(entities)
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
        protocols = entity.values.get("protocols")
        stream = isinstance(protocols, list) and any(
            p in _STREAM_PROTOCOLS for p in protocols if isinstance(p, str)
        )
        fields = _STREAM if stream else _HTTP
        if any(entity.values.get(field) for field in fields):
            continue
        service = entity.parent.text("name") if entity.parent else reference(entity.values.get("service"))
        if stream or tenant_of.get(service) not in with_hosts:
            yield Problem(entity.path, "missing-field", f"one of {', '.join(fields)} is needed")
