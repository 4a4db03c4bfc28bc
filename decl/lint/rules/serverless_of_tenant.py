"""No Lua snippets in a tenant's services.

Kong's sandbox is no boundary between tenants: whoever may add a pre-function or post-function owns the whole
worker, with all other tenants' traffic and the plugin server's socket.

PASS:
    tenants: [{name: shop}]
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      plugins:
      - {name: request-termination, config: {status_code: 503}}

FAIL:
    tenants: [{name: shop}]
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      plugins:
      - {name: pre-function, config: {access: ["kong.log('hi')"]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.model import Gateway

ID = "serverless-of-tenant"
LEVEL: Level = ERROR

_SERVERLESS = ("pre-function", "post-function")


def check(gateway: Gateway) -> Iterator[Hit]:
    """Serverless plugins in the services and routes of tenants."""
    for service, _, plugin in gateway.all_plugins():
        if service is not None and service.tenant is not None and plugin.name in _SERVERLESS:
            message = f"{plugin.name} of tenant {service.tenant!r} would own the whole Kong worker; remove it"
            yield Hit(plugin.path, message)
