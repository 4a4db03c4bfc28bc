"""Admin API clients for commands that look at a cluster's nodes and change nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cli.errors import FailedError, UsageError
from decl.admin import AdminClient
from decl.http import Tls
from decl.late import Resolver, plain, resolved
from decl.model import Cluster
from decl.nodes import NodeUrl, resolve


def resolver() -> Resolver:
    """Secrets from this process's environment and files."""
    return Resolver(os.environ, lambda path: Path(path).read_bytes())


def nodes_of(cluster: Cluster, named: Sequence[str] = ()) -> list[NodeUrl]:
    """The cluster's nodes, or those that --node names. Raises UsageError when there is none."""
    urls = tuple(named) or cluster.nodes
    if not urls:
        raise UsageError(
            f"cluster {cluster.name!r} has no nodes; name them in the file (clusters.{cluster.name}.nodes) "
            "or with --node http://HOST:8001"
        )
    for url in urls:
        if not url.removeprefix("dns+").startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no Admin API URL; write --node http://HOST:8001")
    try:
        return resolve(urls)
    except ValueError as error:
        raise FailedError(str(error)) from error


def client_of(cluster: Cluster, node: NodeUrl) -> AdminClient:
    """A client for one node, with the cluster's headers and TLS. Raises FailedError for a missing secret."""
    try:
        headers = plain(resolved(dict(cluster.headers), resolver()))
    except ValueError as error:
        raise FailedError(f"cluster {cluster.name!r}: {error}") from error
    tls = Tls(cluster.ca, cluster.client_cert, cluster.client_key, node.name)
    return AdminClient(node.url, headers, None, cluster.timeout, tls)
