"""Admin API credentials over plain http to another machine.

`admin.headers` holds a token; over http anybody on the way reads it and owns the gateway. Take https, or a
node on this machine.

Why: the Admin API of stock Kong 3.9 has no authentication of its own, the token belongs to the proxy before it.

PASS:
    clusters:
      main: {nodes: ["https://kong-1:8444"], admin: {headers: {X-Token: !env TOKEN}}}

FAIL:
    clusters:
      main: {nodes: ["http://kong-1:8001"], admin: {headers: {X-Token: !env TOKEN}}}
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from decl.findings import WARNING, Level
from decl.lint.hit import Hit
from decl.lint.view import View

ID = "admin-token-over-http"
LEVEL: Level = WARNING


def check(view: View) -> Iterator[Hit]:
    """Nodes with http that are not on this machine, in clusters with headers."""
    for cluster in view.gateway.clusters.values():
        for index, node in enumerate(cluster.nodes if cluster.headers else ()):
            host = urlsplit(node.removeprefix("dns+")).hostname or ""
            if "http://" in node and host not in ("localhost", "127.0.0.1", "::1"):
                message = f"the admin headers of cluster {cluster.name!r} go to {host} in clear; take https"
                yield Hit((*cluster.path, "nodes", index), message)
