"""A tenant with more entities than its limits allow.

`limits` of a tenant says how many services, routes, plugins, upstreams or targets it may have, so that one
group cannot fill the router of all.

Why: every route and plugin is rebuilt in every worker at each push (Kong/kong#6811 tells of seconds at
5,000 routes).

PASS:
    tenants: [{name: one, owner: x, limits: {services: 1}}]
    services: [{name: a, tenant: one, url: http://a}]

FAIL:
    tenants: [{name: one, owner: x, limits: {services: 1}}]
    services: [{name: a, tenant: one, url: http://a}, {name: b, tenant: one, url: http://b}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "tenant-limit"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Tenants over a limit, one finding for each limit."""
    for tenant in view.gateway.tenants.values():
        if not tenant.limits:
            continue
        services = [service for service in view.gateway.services if service.tenant == tenant.name]
        upstreams = [upstream for upstream in view.gateway.upstreams if upstream.tenant == tenant.name]
        counts = {
            "services": len(services),
            "routes": sum(len(service.routes) for service in services),
            "plugins": sum(len(s.plugins) + sum(len(r.plugins) for r in s.routes) for s in services),
            "upstreams": len(upstreams),
            "targets": sum(len(upstream.targets) for upstream in upstreams),
        }
        for kind, limit in tenant.limits.items():
            if counts[kind] > limit:
                message = f"tenant {tenant.name!r} has {counts[kind]} {kind}, its limit is {limit}"
                yield Hit((*tenant.path, "limits", kind), message)
