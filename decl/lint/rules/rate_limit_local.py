"""A rate limit that each of several nodes counts for itself.

With `policy: local`, Kong's default, a client gets the limit once from every node. Take `policy: redis`. The
data planes of a hybrid cluster are several nodes, whatever the control planes are.

Why: `local` counts in the node's own shared dict (kong/plugins/rate-limiting/policies/init.lua, 3.9); DB-less
nodes also draw their own credential ids unless the config has ids, which render writes.

PASS:
    clusters:
      main: {nodes: ["http://a:8001", "http://b:8001"]}
    plugins:
    - {name: rate-limiting, config: {minute: 5, policy: redis, redis: {host: r}}}

FAIL:
    clusters:
      main: {nodes: ["http://a:8001", "http://b:8001"]}
    plugins:
    - {name: rate-limiting, config: {minute: 5}}

FAIL:
    clusters:
      main: {mode: hybrid, nodes: ["http://control-plane:8001"]}
    plugins:
    - {name: rate-limiting, config: {minute: 5}}

FAIL:
    clusters:
      main: {mode: db, nodes: ["http://a:8001"], proxy: ["http://a:8000", "http://b:8000"]}
    plugins:
    - {name: rate-limiting, config: {minute: 5}}
"""

from __future__ import annotations

from collections.abc import Iterator

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View, has_several_nodes

ID = "rate-limit-local"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Instances with policy local in clusters of several nodes."""
    for name in ("rate-limiting", "response-ratelimiting"):
        for placed in view.by_name.get(name, ()):
            if placed.plugin.config.get("policy", "local") != "local":
                continue
            for cluster in view.clusters_of(placed.service):
                if cluster.mode == "hybrid" or has_several_nodes(cluster):
                    message = f"every node of cluster {cluster.name!r} counts for itself; take policy: redis"
                    yield Hit(placed.plugin.path, message)
                    break
