"""A cache above a static fallback.

Where the fallback answers with 200, the cache may keep the prepared answer and give it to everybody after
the service is well again. Use one of the two on a route.

Why: kong/plugins/proxy-cache/handler.lua (3.9, priority 100) stores in its body_filter what the client gets; the
adapter's swap in header_filter comes before it.

PASS:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        plugins: [{name: proxy-cache, config: {strategy: memory}}]

FAIL:
    services:
    - name: a
      url: http://a
      routes:
      - name: one
        paths: [/a]
        plugins:
        - {name: proxy-cache, config: {strategy: memory}}
        - {name: static-fallback, config: {responses: [{on: [502], body: x}]}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import ERROR, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "proxy-cache-with-fallback"
LEVEL: Level = ERROR


def check(view: View) -> Iterator[Hit]:
    """Routes on which both run, once for each instance of the cache."""
    seen = set()
    for found in view.routes:
        cache, fallback = found.plugins.get("proxy-cache"), found.plugins.get("static-fallback")
        if cache is None or fallback is None or cache.path in seen:
            continue
        seen.add(cache.path)
        message = f"it would store the prepared answers of route {found.route.name!r}; remove one of the two"
        yield Hit(cache.path, message, first=fallback.path)
