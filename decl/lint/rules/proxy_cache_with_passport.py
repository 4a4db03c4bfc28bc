"""A cache on a route that answers each user differently.

The cache's key has no user in it unless `vary_headers` names the token: one user's answer is given to the
next. It answers without the service, so the service cannot check either.

Why: measured on Kong 3.9.3: proxy-cache served a body to a client without a token while the plugin server
was dead.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        plugins:
        - {name: passport, config: {issuers: [m]}}
        - {name: proxy-cache, config: {strategy: memory, vary_headers: [Authorization]}}

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        plugins:
        - {name: passport, config: {issuers: [m]}}
        - {name: proxy-cache, config: {strategy: memory}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.values import items
from decl.lint.view import AUTHENTICATION, View

ID = "proxy-cache-with-passport"
LEVEL: Level = ERROR

_TOKENS = {"authorization", "x-passport", "cookie"}


def check(view: View) -> Iterator[Hit]:
    """Routes with a cache and authentication, without the token in the cache's key."""
    seen = set()
    for found in view.routes:
        cache = found.plugins.get("proxy-cache")
        if cache is None or cache.path in seen or AUTHENTICATION.isdisjoint(found.plugins):
            continue
        vary = {str(name).lower() for name in items(cache.config.get("vary_headers"))}
        if vary.isdisjoint(_TOKENS):
            seen.add(cache.path)
            message = f"it gives one user's answer of route {found.route.name!r} to another; remove it"
            yield Hit(cache.path, f"{message}, or name Authorization in vary_headers")
