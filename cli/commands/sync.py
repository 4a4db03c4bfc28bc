"""kgate sync"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from cli import exit_codes
from cli.errors import UsageError
from cli.options import file_option
from cli.project import chosen_cluster, sound_project
from cli.report import human
from cli.report import json as json_report
from decl.apply import NodeResult, push_to
from decl.model import Cluster, Gateway
from decl.render import render


@click.command(name="sync")
@file_option
@click.option("--cluster", help="The cluster to bring up to date; needed when the files have several.")
@click.option(
    "--node", "nodes", multiple=True, help="Admin API URL to push to, in place of the cluster's nodes."
)
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    cluster: str | None,
    nodes: tuple[str, ...],
    yes: bool,
    output: str,
) -> int:
    """Bring the Kong nodes of a cluster to what the files say.

    The files are checked first; with an error in them nothing is pushed. Nodes are done in their order; a
    node that already has the config is left alone, and the first failure stops the run.

    \b
    Examples:
      kgate sync --cluster critical --yes
      kgate -f gateway.yaml sync --node http://127.0.0.1:8001

    Exit codes: 0 all nodes have the config, 1 failed and no node was changed, 2 wrong usage, 4 errors in
    the files, 5 some nodes were changed.
    """
    project, gateway = sound_project(ctx, files, output)
    name = chosen_cluster(gateway, cluster)
    settings = gateway.clusters.get(name, Cluster(name, ()))
    urls = _urls(settings, nodes)
    rendered = render(gateway, name)
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm(f"Push {_size(gateway)} to {', '.join(urls)}?", abort=True)
    ca = settings.ca
    if ca is not None and not Path(ca).is_file():
        raise UsageError(f"cluster {name!r}: there is no file {ca} (admin.ca)")
    results = push_to(urls, rendered, project.sources, dict(settings.headers), ca, settings.timeout)
    if output == "json":
        click.echo(json_report.nodes(name, rendered.hash, results))
    else:
        for line in human.nodes(results):
            click.echo(line)
    return _exit_code(results)


def _urls(cluster: Cluster, nodes: Sequence[str]) -> tuple[str, ...]:
    if cluster.mode != "dbless":
        raise UsageError(
            f"cluster {cluster.name!r} has mode {cluster.mode}, which sync does not support yet; "
            "push the output of `kgate render` with decK, or use mode: dbless"
        )
    urls = tuple(nodes) or cluster.nodes
    if not urls:
        raise UsageError(
            f"cluster {cluster.name!r} has no nodes; name them in the file (clusters.{cluster.name}.nodes) "
            "or with --node http://HOST:8001"
        )
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no Admin API URL; write --node http://HOST:8001")
    return urls


def _size(gateway: Gateway) -> str:
    routes = sum(1 for _ in gateway.all_routes())
    return f"{len(gateway.services)} services and {routes} routes"


def _exit_code(results: Sequence[NodeResult]) -> int:
    states = [result.state for result in results]
    if all(state in ("changed", "unchanged") for state in states):
        return exit_codes.OK
    return exit_codes.PARTIAL if "changed" in states or "unknown" in states else exit_codes.FAILED
