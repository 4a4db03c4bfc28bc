"""An upstream that no service and no canary uses.

Often the trace of a typing error in a service's host: Kong then asks DNS for the name instead.

Why: Kong 3.9 resolves a service's host to an upstream by its name alone, and says nothing when there is none.

PASS:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: cart-v2}

FAIL:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: somewhere.example.com}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View
from kong_plugins.canary_router import config as canary_router

ID = "unused-upstream"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams whose name stands nowhere."""
    used = {service.host for service in view.gateway.services}
    for placed in view.by_name.get("canary-router", ()):
        used.update(canary_router.upstreams(placed.plugin.config).values())
    for upstream in view.gateway.upstreams:
        if upstream.name not in used:
            yield Hit(upstream.path, f"no service and no canary uses upstream {upstream.name!r}")
