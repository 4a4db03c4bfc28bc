"""No Lua of a tenant.

Kong's sandbox is no boundary between tenants: whoever may add a pre-function, a post-function or a log
plugin's `custom_fields_by_lua` owns the whole worker, with all other tenants' traffic and the plugin
server's socket.

Why: measured on Kong 3.9.3: with the default `untrusted_lua = sandbox` snippets have all of `ngx` (sockets,
timers, shared dicts) and an open `kong` table.

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

FAIL:
    tenants: [{name: shop}]
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      plugins:
      - {name: file-log, config: {path: /dev/stdout, custom_fields_by_lua: {a: return 1}}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "serverless-of-tenant"
LEVEL: Level = ERROR

_SERVERLESS = ("pre-function", "post-function")


def check(view: View) -> Iterator[Hit]:
    """Plugins with Lua in the services and routes of tenants."""
    for placed in view.own_plugins:
        plugin, service = placed.plugin, placed.service
        if service is None or service.tenant is None:
            continue
        if plugin.name in _SERVERLESS or plugin.config.get("custom_fields_by_lua"):
            message = f"{plugin.name} of tenant {service.tenant!r} would own the whole Kong worker; remove it"
            yield Hit(plugin.path, message)
