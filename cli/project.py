"""What render and sync share: a gateway without errors, and the cluster that is meant."""

from __future__ import annotations

from pathlib import Path

import click

from cli import exit_codes
from cli.errors import UsageError
from cli.files import read_project
from cli.report import human
from cli.report import json as json_report
from decl.findings import has_errors
from decl.model import Gateway
from decl.project import Project

DEFAULT_CLUSTER = "default"
"""The cluster of a file that names none."""


def sound_project(ctx: click.Context, files: tuple[Path, ...], output: str) -> tuple[Project, Gateway]:
    """The project and its gateway. Findings go to stderr; errors end the command with exit 4, and with the
    report of `kgate lint --output json` where output is json."""
    project = read_project(ctx, files)
    if output == "json" and has_errors(project.findings):
        click.echo(json_report.findings(project.findings))
        ctx.exit(exit_codes.FINDINGS)
    for line in human.findings(project.findings, project.texts, project.secrets):
        click.echo(line, err=True)
    if project.gateway is None or has_errors(project.findings):
        ctx.exit(exit_codes.FINDINGS)
    return project, project.gateway


def chosen_cluster(gateway: Gateway, cluster: str | None) -> str:
    """The cluster that --cluster names, or the only one. Raises UsageError naming those that are there."""
    names = sorted(gateway.clusters)
    if cluster is not None:
        if names and cluster not in names:
            raise UsageError(f"there is no cluster {cluster!r}; the files have {', '.join(names)}")
        return cluster
    if len(names) > 1:
        raise UsageError(f"the files have several clusters; choose one with --cluster: {', '.join(names)}")
    return names[0] if names else DEFAULT_CLUSTER
