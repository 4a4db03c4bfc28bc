"""Tenants: what a service inherits from the tenant that it names.

Default plugins unless it has its own (default fields: decl.build), the tenant's hosts for routes without hosts (but
not for streams), and the tags `kgate-tenant:NAME` and `owner:OWNER` on the service, its routes and the tenant's
upstreams.
"""

from __future__ import annotations

from dataclasses import replace

from decl.kong.entities import STREAM
from decl.model import Gateway, Plugin, Route, Service, Tenant, Upstream

TENANT_TAG = "kgate-tenant:"
OWNER_TAG = "owner:"


def expand(gateway: Gateway) -> Gateway:
    """The gateway with its tenants' defaults written out. Expanding again changes nothing."""
    if not gateway.tenants:
        return gateway
    services = tuple(
        _service(service, gateway.tenants[service.tenant]) if service.tenant else service
        for service in gateway.services
    )
    upstreams = tuple(_upstream(upstream, gateway) for upstream in gateway.upstreams)
    return replace(gateway, services=services, upstreams=upstreams)


def tenant_tags(tenant: Tenant) -> tuple[str, ...]:
    """The tags of everything that belongs to a tenant."""
    return (TENANT_TAG + tenant.name, *((OWNER_TAG + tenant.owner,) if tenant.owner else ()), *tenant.tags)


def _service(service: Service, tenant: Tenant) -> Service:
    tags = tenant_tags(tenant)
    own = {plugin.name for plugin in service.plugins if plugin.consumer is None}
    inherited = tuple(_inherit(plugin, tenant) for plugin in tenant.plugins if plugin.name not in own)
    return replace(
        service,
        plugins=service.plugins + inherited,
        tags=_joined(service.tags, tags),
        routes=tuple(_route(route, tenant, tags) for route in service.routes),
    )


def _inherit(plugin: Plugin, tenant: Tenant) -> Plugin:
    # an instance name is unique in Kong: the copies cannot keep it
    fields = {name: value for name, value in plugin.fields.items() if name not in ("instance_name", "id")}
    return replace(plugin, fields=fields, from_tenant=tenant.name)


def _route(route: Route, tenant: Tenant, tags: tuple[str, ...]) -> Route:
    fields = dict(route.fields)
    # a stream has no host: Kong refuses the field there
    if tenant.hosts and not fields.get("hosts") and not STREAM & set(fields.get("protocols") or ()):
        fields["hosts"] = list(tenant.hosts)
    return replace(route, fields=fields, tags=_joined(route.tags, tags))


def _upstream(upstream: Upstream, gateway: Gateway) -> Upstream:
    if upstream.tenant is None:
        return upstream
    return replace(upstream, tags=_joined(upstream.tags, tenant_tags(gateway.tenants[upstream.tenant])))


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(first + second))
