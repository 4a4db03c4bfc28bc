"""An upstream that has no target with weight.

Every request to it is answered 503 by Kong: `failure to get a peer from the ring-balancer`.

Why: measured on Kong 3.9.3: no targets, all of weight 0 or all ejected give the same 503.

PASS:
    upstreams:
    - {name: a, targets: [{target: "10.0.0.7:8080"}]}
    services: [{name: a, host: a}]

FAIL:
    upstreams:
    - {name: a, targets: [{target: "10.0.0.7:8080", weight: 0}]}
    services: [{name: a, host: a}]
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "upstream-without-targets"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Upstreams in which nothing can be picked."""
    for upstream in view.gateway.upstreams:
        if not any(target.fields.get("weight", 100) for target in upstream.targets):
            yield Hit(upstream.path, f"upstream {upstream.name!r} has no target with weight: it answers 503")
