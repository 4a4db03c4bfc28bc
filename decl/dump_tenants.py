"""Tenants as they were: from the tags that render wrote to entries of `tenants`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from decl.model import Tenant
from decl.tenants import OWNER_TAG, TENANT_TAG

Entity = dict[str, Any]
T = TypeVar("T", bound=Hashable)

_ORDER = ("name", "cluster", "standby", "owner", "hosts", "tags", "limits", "dns", "plugins")

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


def complete(tenants: Iterable[Entity], known: Mapping[str, Tenant]) -> None:
    """Add (in place) what no node holds of a tenant, from the files that know it."""
    for tenant in tenants:
        written = known.get(tenant["name"])
        for field in ("cluster", "standby", "limits", "dns"):
            value = getattr(written, field, None)
            if value:
                tenant[field] = dict(value) if isinstance(value, Mapping) else value
        told = dict(tenant)
        tenant.clear()
        tenant.update((field, told[field]) for field in _ORDER if field in told)


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
    hosts = _most([tuple(route.get("hosts") or ()) for route in routes])
    if hosts:
        tenant["hosts"] = list(hosts)
        for route in routes:
            if route["hosts"] == tenant["hosts"]:
                del route["hosts"]
    plugins = _defaults(own) if len(own) > 1 else []
    if plugins:
        tenant["plugins"] = plugins
        texts = {_text(plugin) for plugin in plugins}
        for service in own:
            left = [plugin for plugin in service["plugins"] if _text(plugin) not in texts]
            service.pop("plugins")
            if left:
                service["plugins"] = left
    return tenant


def _most(values: list[T]) -> T | None:
    """What all have, or more than have any other one; None where one of them has nothing, which it would get then."""
    if not values or not all(values):
        return None
    (first, count), *others = Counter(values).most_common(2)
    return first if not others or count > others[0][1] else None


def _defaults(services: list[Entity]) -> list[Entity]:
    """The plugins that all services have, most of them alike: the others have one of their own. Those with an own id
    or name are somebody's own."""
    by_name: list[dict[str, Entity]] = [
        {plugin["name"]: plugin for plugin in service.get("plugins", ()) if "consumer" not in plugin}
        for service in services
    ]
    found = []
    for name in by_name[0]:
        all_of_it = [plugins[name] for plugins in by_name if name in plugins]
        text = _most([_text(plugin) for plugin in all_of_it]) if len(all_of_it) == len(services) else None
        plugin = next((plugin for plugin in all_of_it if _text(plugin) == text), None)
        if plugin is not None and not {"id", "instance_name"} & plugin.keys():
            found.append(plugin)
    return found


def _text(plugin: Entity) -> str:
    return json.dumps(plugin, sort_keys=True, default=str)
