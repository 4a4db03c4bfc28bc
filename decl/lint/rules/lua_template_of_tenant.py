"""No Lua expressions in a tenant's transformer templates.

The values of request-transformer may be templates, `$(headers.x)`. Anything beyond naming a header, a query
parameter, a capture or a shared value is Lua that runs in the worker.

Why: kong/plugins/request-transformer/access.lua compiles the template with pl.template: the text between
`$(` and `)` is any Lua expression.

PASS:
    tenants: [{name: shop}]
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      plugins:
      - {name: request-transformer, config: {add: {headers: ["x-id:$(headers.x_request_id)"]}}}

FAIL:
    tenants: [{name: shop}]
    services:
    - name: cart
      tenant: shop
      url: http://cart:8080
      plugins:
      - {name: request-transformer, config: {add: {headers: ["x-id:$((function() return 1 end)())"]}}}
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.values import texts
from decl.lint.view import View

ID = "lua-template-of-tenant"
LEVEL: Level = ERROR

_NAME = re.compile(r"\$\((headers|query_params|uri_captures|shared)[.\[][\w\"'\].\[-]+\)")


def check(view: View) -> Iterator[Hit]:
    """Templates of tenants with more than a name in them."""
    for placed in view.by_name.get("request-transformer", ()):
        service, plugin = placed.service, placed.plugin
        if service is None or service.tenant is None:
            continue
        for path, text in texts(plugin.config, (*plugin.path, "config")):
            if "$(" in _NAME.sub("", text):
                yield Hit(
                    path, f"a Lua expression of tenant {service.tenant!r}; only $(headers.x) is allowed"
                )
