"""Retries asked for where only POST and PATCH come.

Kong repeats such a request only when nothing of it was sent, so the retries do not save it from a slow or
dying service, they only multiply the connect timeout. Take `retries: 0`, and make the service idempotent
before you tell nginx to repeat more (`proxy_next_upstream non_idempotent`).

Why: measured on Kong 3.9.3: refused connections and connect timeouts are retried for every method, resets
and read timeouts for GET, PUT and DELETE only.

PASS:
    services:
    - name: a
      url: http://a
      retries: 0
      routes: [{name: a, paths: [/a], methods: [POST]}]

FAIL:
    services:
    - name: a
      url: http://a
      retries: 3
      connect_timeout: 1000
      read_timeout: 1000
      routes: [{name: a, paths: [/a], methods: [POST]}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "non-idempotent-retry"
LEVEL: Level = WARNING

_UNSAFE = {"POST", "PATCH"}


def check(view: View) -> Iterator[Hit]:
    """Services with explicit retries whose routes take POST and PATCH alone."""
    for service in view.gateway.services:
        if not service.fields.get("retries") or not service.routes:
            continue
        methods = [set(route.fields.get("methods") or ("GET",)) for route in service.routes]
        if all(taken <= _UNSAFE for taken in methods):
            message = "only POST and PATCH come here: Kong does not repeat them once sent; take retries: 0"
            yield Hit((*service.path, "retries"), message)
