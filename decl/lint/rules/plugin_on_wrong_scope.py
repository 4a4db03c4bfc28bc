"""A plugin on a consumer that its schema does not allow there.

Kong's Admin API refuses such an instance, but DB-less Kong takes it when it is nested in the consumer, and
then never runs it.

Why: the plugins' schemas of Kong 3.9 (`consumer = typedefs.no_consumer`); nested instances pass `POST
/config` on 3.9.3.

PASS:
    consumers:
    - username: partner
      plugins:
      - {name: rate-limiting, config: {minute: 60}}

FAIL:
    consumers:
    - username: partner
      plugins:
      - {name: cors, config: {origins: ["https://a.example"]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "plugin-on-wrong-scope"
LEVEL: Level = ERROR

_NO_CONSUMER = frozenset(
    (
        "acl",
        "basic-auth",
        "bot-detection",
        "cors",
        "hmac-auth",
        "jwt",
        "key-auth",
        "ldap-auth",
        "oauth2",
        "post-function",
        "pre-function",
        "session",
    )
)


def check(view: View) -> Iterator[Hit]:
    """Instances for a consumer of plugins that run before or without one."""
    for placed in view.own_plugins:
        plugin = placed.plugin
        if plugin.name in _NO_CONSUMER and (placed.consumer is not None or plugin.consumer is not None):
            message = f"{plugin.name} cannot be bound to a consumer: it would never run; put it on a route"
            yield Hit(plugin.path, message)
