"""A service or target that is the Admin API of the gateway.

Whoever reaches its route can change or read the whole gateway: plugins, keys, the routes of all tenants. Looked
at are the addresses of `nodes`, and their ports on the loopback interface. Services of the gateway's owner (no
tenant) may lead there if authentication runs on each of their routes.

Why: the Admin API of stock Kong 3.9 asks nobody who they are; what keeps others out is that nothing leads there.

PASS:
    clusters: {main: {nodes: ["http://kong-1:8001"]}}
    services:
    - name: admin
      url: http://localhost:8001
      routes:
      - {name: admin, paths: [/admin-api], plugins: [{name: key-auth}]}

FAIL:
    clusters: {main: {nodes: ["http://kong-1:8001"]}}
    services:
    - name: admin
      url: http://127.0.0.1:8001
      routes:
      - {name: admin, paths: [/admin-api]}

FAIL:
    clusters: {main: {nodes: ["http://kong-1:8001"]}}
    tenants: [{name: shop, owner: x}]
    services:
    - name: cart
      tenant: shop
      url: http://kong-1:8001
      routes:
      - {name: cart, paths: [/cart], plugins: [{name: key-auth}]}

FAIL:
    clusters: {main: {nodes: ["http://kong-1:8001"]}}
    upstreams:
    - {name: cart, targets: [{target: "kong-1:8001"}]}
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import AUTHENTICATION, View
from decl.model import Service

ID = "admin-api-exposed"
LEVEL: Level = ERROR

_LOOPBACK = "localhost"


def check(view: View) -> Iterator[Hit]:
    """Services and targets with the address of a node's Admin API."""
    addresses = _admin_addresses(view)
    if not addresses:
        return
    for service in view.gateway.services:
        if _address(service.host, service.port) in addresses and not _is_guarded(view, service):
            yield Hit(
                service.path,
                f"{service.host}:{service.port} is the gateway's Admin API: whoever gets here owns the gateway; take "
                "another host, or authentication on all routes of a service without tenant",
            )
    for upstream in view.gateway.upstreams:
        for target in upstream.targets:
            host, _, port = target.target.rpartition(":")
            if port.isdecimal() and _address(host.strip("[]"), int(port)) in addresses:
                message = f"{target.target} is the gateway's Admin API: whoever gets here owns the gateway"
                yield Hit(target.path, message)


def _admin_addresses(view: View) -> set[tuple[str, int]]:
    found = set()
    for cluster in view.gateway.clusters.values():
        for node in cluster.nodes:
            try:
                url = urlsplit(node.removeprefix("dns+"))
                explicit, port = url.port, 443 if url.scheme == "https" else 80
            except ValueError:
                continue  # said by validate
            if not url.hostname or url.path.strip("/"):
                continue  # a path: something stands before it, which has other places too
            found.add(_address(url.hostname, explicit or port))
            if explicit:
                found.add((_LOOPBACK, explicit))  # for the node itself
    return found


def _address(host: str, port: int) -> tuple[str, int]:
    name = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name, port
    return (_LOOPBACK if address.is_loopback or address.is_unspecified else str(address)), port


def _is_guarded(view: View, service: Service) -> bool:
    if service.tenant is not None:
        return False
    of_service = [found for found in view.routes if found.service is service]
    return not any(AUTHENTICATION.isdisjoint(found.plugins) for found in of_service)
