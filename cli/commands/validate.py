"""kgate validate"""

from __future__ import annotations

from pathlib import Path

import click

from cli import exit_codes
from cli.errors import FailedError
from cli.files import read_project
from cli.nodes import client_of, nodes_of, resolver
from cli.options import file_option
from cli.project import chosen_cluster
from cli.report.outputs import Output, output_option, write
from decl.admin import AdminError
from decl.findings import Finding, has_errors, tidy
from decl.model import Cluster, Gateway
from decl.project import Project
from decl.render import render
from decl.validate.online import validate_online


@click.command(name="validate")
@file_option
@output_option
@click.option("--online", is_flag=True, help="Ask a live node about every entity too; nothing is changed.")
@click.option("--cluster", help="With --online: the cluster to ask; needed when the files have several.")
@click.option("--node", "nodes", multiple=True, help="With --online: Admin API URL, for the cluster's first.")
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    outputs: tuple[Output, ...],
    online: bool,
    cluster: str | None,
    nodes: tuple[str, ...],
) -> int:
    """Check that Kong would take the files: syntax, schema, plugin configs, names, references.

    Lint rules are left to `kgate lint`, but for those about what stock Kong refuses. Configs of plugins that kgate
    does not know are checked by the pack of `kgate schema pull`, where .kgate.yaml names one. With --online a node of
    the cluster checks each entity by its own schemas, and its answers come back with the place in the file.

    \b
    Examples:
      kgate validate
      kgate validate -f gateway/ --output junit=validate.xml --output human
      kgate validate --online --cluster critical

    Exit codes: 0 nothing wrong, 1 the node cannot be asked, 2 wrong usage, 4 findings.
    """
    project = read_project(ctx, files, rules=False)
    if online and project.gateway is not None:
        project = _asked(project, project.gateway, cluster, nodes)
    write(project, outputs)
    return exit_codes.FINDINGS if has_errors(project.findings) else exit_codes.OK


def _asked(project: Project, gateway: Gateway, cluster: str | None, nodes: tuple[str, ...]) -> Project:
    name = chosen_cluster(gateway, cluster)
    settings = gateway.clusters.get(name, Cluster(name, ()))
    node = nodes_of(settings, nodes)[0]
    try:
        rendered = render(gateway, name).resolved(resolver())
    except ValueError as error:
        raise FailedError(str(error)) from error
    with client_of(settings, node) as client:
        try:
            problems = validate_online(rendered, client.check)
        except AdminError as error:
            raise FailedError(f"{error}; is the Admin API reachable from here?") from error
    found: list[Finding] = [project.sources.locate(problem) for problem in problems]
    return project._replace(findings=tidy((*project.findings, *found)))
