"""Select: the part of a gateway that one cluster gets.

A tenant's services go to its cluster and its standby; services of no tenant, and of a tenant that names no
cluster, go everywhere, and so do consumers and plugins for all requests. An upstream goes where a service
or a canary uses it, or everywhere when nobody does.
"""

from __future__ import annotations

from dataclasses import replace

from decl.model import Gateway, Plugin, Service
from kong_plugins.canary_router import config as canary_router


def select(gateway: Gateway, cluster: str, tenant: str | None = None) -> Gateway:
    """The gateway without what belongs to other clusters; with `tenant` only that tenant's services and
    what they use. Raises KeyError for a cluster that is not there."""
    if gateway.clusters and cluster not in gateway.clusters:
        raise KeyError(cluster)
    services = tuple(
        service
        for service in gateway.services
        if _is_in(gateway, service, cluster) and tenant in (None, service.tenant)
    )
    if len(services) == len(gateway.services):
        return gateway
    mine = _used(services, gateway)
    kept = {service.name for service in services}
    elsewhere = _used(tuple(s for s in gateway.services if s.name not in kept), gateway) - mine
    return replace(
        gateway,
        services=services,
        routes=gateway.routes if tenant is None else (),
        upstreams=tuple(u for u in gateway.upstreams if u.name not in elsewhere),
    )


def _is_in(gateway: Gateway, service: Service, cluster: str) -> bool:
    tenant = gateway.tenants.get(service.tenant or "")
    if tenant is None or tenant.cluster is None:
        return True
    return cluster in (tenant.cluster, tenant.standby)


def _used(services: tuple[Service, ...], gateway: Gateway) -> set[str]:
    """Names of upstreams that services and their canaries name."""
    plugins: list[Plugin] = [plugin for plugin in gateway.plugins if services]
    names = set()
    for service in services:
        names.add(service.host)
        plugins += service.plugins
        for route in service.routes:
            plugins += route.plugins
    canaries = [canary_router.upstreams(p.config) for p in plugins if p.name == "canary-router"]
    return names.union(*(found.values() for found in canaries))
