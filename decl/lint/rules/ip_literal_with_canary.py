"""A canary on a service whose host is an address.

Kong cannot send a request to an upstream when the service's host is an address, so render puts an upstream
with one target in its place. Name an upstream yourself to have health checks and several targets.

Why: measured on Kong 3.9.3: set_upstream on a service with an IP literal returns true, and the request ends
in 500.

PASS:
    upstreams: [{name: v1, targets: [{target: "10.0.0.1:80"}]}, {name: v2, targets: [{target: "10.0.0.2:80"}]}]
    services:
    - name: a
      host: v1
      plugins: [{name: canary-router, config: {name: c, upstream: v2}}]

FAIL:
    upstreams: [{name: v2, targets: [{target: "10.0.0.2:80"}]}]
    services:
    - name: a
      url: http://10.0.0.1
      routes: [{name: a, paths: [/a]}]
      plugins: [{name: canary-router, config: {name: c, upstream: v2}}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from decl.url import is_ip_literal

ID = "ip-literal-with-canary"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Services with a canary and an address for a host, once each."""
    seen = set()
    for found in view.routes:
        service = found.service
        if service is None or service.name in seen or "canary-router" not in found.plugins:
            continue
        if is_ip_literal(service.host):
            seen.add(service.name)
            message = f"service {service.name!r} has a canary and an address for a host; name an upstream"
            yield Hit(service.path, message)
