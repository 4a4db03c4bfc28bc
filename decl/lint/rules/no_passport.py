"""A tenant's route without authentication.

Where the gateway asks for no identity, the front server gets requests from anybody. If that is meant, say
so: give the route a passport with `mode: optional` or `mode: forbidden`.

PASS:
    tenants:
    - name: shop
      plugins:
      - {name: passport, config: {issuers: [main]}}

FAIL:
    tenants:
    - name: shop
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      routes:
      - {name: cart, paths: [/cart]}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.model import Gateway, effective

ID = "no-passport"
LEVEL: Level = WARNING

AUTHENTICATION = frozenset(
    (
        "passport",
        "basic-auth",
        "hmac-auth",
        "jwt",
        "key-auth",
        "ldap-auth",
        "mtls-auth",
        "oauth2",
        "openid-connect",
    )
)


def check(gateway: Gateway) -> Iterator[Hit]:
    """Routes of tenants for which no authentication plugin runs."""
    for service, route in gateway.all_routes():
        if service is None or service.tenant is None:
            continue
        if AUTHENTICATION.isdisjoint(effective(gateway, service, route)):
            message = f"route of tenant {service.tenant!r} without a passport or other authentication"
            yield Hit(route.path, f"{message}; add one, or a passport with mode: optional")
