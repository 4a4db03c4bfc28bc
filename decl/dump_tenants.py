"""Tenants as they were: from the tags that render wrote to entries of `tenants`."""

from __future__ import annotations

import json
from typing import Any

from decl.tenants import OWNER_TAG, TENANT_TAG

Entity = dict[str, Any]

MARKS = (TENANT_TAG, OWNER_TAG)
"""How the tags begin that tell the tenants."""


def restore_tenants(services: list[Entity], upstreams: list[Entity]) -> list[Entity]:
    """The tenants of services and upstreams, which lose (in place) what they have from their tenant."""
    members: dict[str, list[Entity]] = {}
    for entity in (*services, *upstreams):
        name = next((tag.removeprefix(TENANT_TAG) for tag in entity.get("tags", ()) if _is_mark(tag)), None)
        if name is not None:
            members.setdefault(name, []).append(entity)
    return [_tenant(name, found, services) for name, found in sorted(members.items())]


def _is_mark(tag: str) -> bool:
    return tag.startswith(TENANT_TAG)


def _tenant(name: str, members: list[Entity], services: list[Entity]) -> Entity:
    own = [member for member in members if any(member is service for service in services)]
    routes = [route for service in own for route in service.get("routes", ())]
    tagged = [*members, *routes]
    common = [tag for tag in tagged[0].get("tags", ()) if all(tag in e.get("tags", ()) for e in tagged)]
    owner = next((tag.removeprefix(OWNER_TAG) for tag in common if tag.startswith(OWNER_TAG)), None)
    tags = [tag for tag in common if not _is_mark(tag) and tag != f"{OWNER_TAG}{owner}"]
    tenant: Entity = {"name": name}
    if owner:
        tenant["owner"] = owner
    if tags:
        tenant["tags"] = tags
    for entity in tagged:
        left = [tag for tag in entity.get("tags", ()) if tag not in common]
        entity.pop("tags", None)
        if left:
            entity["tags"] = left
    for member in members:
        member["tenant"] = name
    hosts = _common([route.get("hosts") or [] for route in routes])
    if hosts:
        tenant["hosts"] = hosts
        for route in routes:
            route.pop("hosts", None)
    plugins = _common_plugins(own) if len(own) > 1 else []
    if plugins:
        tenant["plugins"] = plugins
        texts = {_text(plugin) for plugin in plugins}
        for service in own:
            left = [plugin for plugin in service["plugins"] if _text(plugin) not in texts]
            service.pop("plugins")
            if left:
                service["plugins"] = left
    return tenant


def _common(lists: list[list[str]]) -> list[str]:
    return lists[0] if lists and all(items == lists[0] for items in lists) else []


def _common_plugins(services: list[Entity]) -> list[Entity]:
    """The plugins that all services have alike; those with an own id or name are somebody's own."""
    first = services[0].get("plugins", ())
    others = [{_text(plugin) for plugin in service.get("plugins", ())} for service in services[1:]]
    return [
        plugin
        for plugin in first
        if not {"id", "instance_name", "consumer"} & plugin.keys()
        and all(_text(plugin) in other for other in others)
    ]


def _text(plugin: Entity) -> str:
    return json.dumps(plugin, sort_keys=True, default=str)
