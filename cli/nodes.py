"""Admin API clients for commands that look at a cluster's nodes and change nothing."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

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


def told() -> Callable[[str], None]:
    """Something that writes lines to stderr, over a progress bar where one stands. Several connections to one node
    meet the same: a line that was just written is not written again."""
    last: dict[str, float] = {}
    lock = threading.Lock()
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""

    def write(line: str) -> None:
        with lock:
            now = time.monotonic()
            if now - last.get(line, -2.0) < 1.0:
                return
            last[line] = now
        click.echo(f"{clear}kgate: {line}", err=True)

    return write


def client_of(cluster: Cluster, node: NodeUrl) -> AdminClient:
    """A client for one node, with the cluster's headers and TLS. Raises FailedError for a missing secret, UsageError
    for a missing file."""
    _has_files(cluster)
    try:
        headers = plain(resolved(dict(cluster.headers), resolver()))
    except ValueError as error:
        raise FailedError(f"cluster {cluster.name!r}: admin.headers: {error}") from error
    tls = Tls(cluster.ca, cluster.client_cert, cluster.client_key, node.name)
    return AdminClient(node.url, headers, None, cluster.timeout, tls, notice=told())


def _has_files(cluster: Cluster) -> None:
    for what in ("ca", "client_cert", "client_key"):
        name = getattr(cluster, what)
        if name is not None and not Path(name).is_file():
            raise UsageError(f"cluster {cluster.name!r}: there is no file {name} (admin.{what})")
    if cluster.client_key is not None and cluster.client_cert is None:
        raise UsageError(f"cluster {cluster.name!r}: admin.client_key without admin.client_cert")
