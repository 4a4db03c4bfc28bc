"""An upstream that no service and no canary uses.

Often the trace of a typing error in a service's host: Kong then asks DNS for the name instead.

PASS:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: cart-v2}

FAIL:
    upstreams:
    - {name: cart-v2, targets: [{target: "10.0.0.7:8080"}]}
    services:
    - {name: cart, host: cart-2v}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.model import Gateway

ID = "unused-upstream"
LEVEL: Level = WARNING


def check(gateway: Gateway) -> Iterator[Hit]:
    """Upstreams whose name stands nowhere."""
    used = {service.host for service in gateway.services}
    used |= {
        str(plugin.config.get("upstream"))
        for _, _, plugin in gateway.all_plugins()
        if plugin.name == "canary-router"
    }
    for upstream in gateway.upstreams:
        if upstream.name not in used:
            yield Hit(upstream.path, f"no service and no canary uses upstream {upstream.name!r}")
