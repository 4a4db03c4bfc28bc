"""A tenant that takes another tenant's host.

A host in a tenant's `hosts` belongs to it: a route of another tenant with it could answer its clients.

Why: stock Kong 3.9 has one name space for all: any route may name any host, and the more specific one wins.

PASS:
    tenants:
    - {name: one, owner: x, hosts: [one.example], defaults: {}}
    - {name: two, owner: y, hosts: [two.example]}
    services:
    - {name: a, tenant: one, url: http://a, routes: [{name: a, paths: [/a]}]}

FAIL:
    tenants:
    - {name: one, owner: x, hosts: [one.example], defaults: {}}
    - {name: two, owner: y, hosts: [two.example]}
    services:
    - {name: a, tenant: one, url: http://a, routes: [{name: a, hosts: [two.example], paths: [/a]}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "tenant-host"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Routes with a host that another tenant alone has."""
    owners: dict[str, list[str]] = {}
    for tenant in view.gateway.tenants.values():
        for host in tenant.hosts:
            owners.setdefault(host.lower(), []).append(tenant.name)
    wild = [host for host in owners if "*" in host]
    for found in view.routes:
        for index, host in enumerate(found.route.fields.get("hosts") or ()):
            name = host.lower().partition(":")[0]
            whose = owners.get(name) or [t for w in wild if fnmatchcase(name, w) for t in owners[w]]
            if whose and found.tenant not in whose:
                path = (*found.route.path, "hosts", index)
                yield Hit(path, f"host {host!r} belongs to tenant {whose[0]!r}")
