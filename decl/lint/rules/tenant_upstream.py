"""A tenant that uses another tenant's upstream.

An upstream with `tenant:` belongs to it. Another tenant's service or canary that names it would reach that
tenant's machines past its plugins.

Why: stock Kong 3.9 lets any service name any upstream; nothing in the proxy keeps them apart.

PASS:
    tenants: [{name: one, owner: x}]
    upstreams: [{name: u, tenant: one, targets: [{target: "10.0.0.1:80"}]}]
    services: [{name: a, tenant: one, host: u}]

FAIL:
    tenants: [{name: one, owner: x}, {name: two, owner: y}]
    upstreams: [{name: u, tenant: one, targets: [{target: "10.0.0.1:80"}]}]
    services: [{name: a, tenant: two, host: u}]

FAIL:
    tenants: [{name: one, owner: x}, {name: two, owner: y}]
    upstreams: [{name: u, tenant: one, targets: [{target: "10.0.0.1:80"}]}]
    services:
    - {name: a, tenant: two, host: v, plugins: [{name: canary-router, config: {name: c, upstream: u}}]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from kong_plugins.canary_router import config as canary_router

ID = "tenant-upstream"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Services and canaries that name an upstream of another tenant."""
    owners = {upstream.name: upstream.tenant for upstream in view.gateway.upstreams if upstream.tenant}
    for service in view.gateway.services if owners else ():
        owner = owners.get(service.host)
        if owner is not None and owner != service.tenant:
            yield Hit((*service.path, "host"), f"upstream {service.host!r} belongs to tenant {owner!r}")
    for placed in view.by_name.get("canary-router", ()) if owners else ():
        tenant = placed.service.tenant if placed.service is not None else None
        for place, name in canary_router.upstreams(placed.plugin.config).items():
            if owners.get(name) not in (None, tenant):
                path = (*placed.plugin.path, "config", *place)
                yield Hit(path, f"upstream {name!r} belongs to tenant {owners[name]!r}")
