"""kgate lint"""

from __future__ import annotations

from pathlib import Path

import click

from cli import exit_codes
from cli.files import read_project
from cli.options import file_option
from cli.report import human
from cli.report import json as json_report
from decl.findings import has_errors


@click.command(name="lint")
@file_option
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(ctx: click.Context, files: tuple[Path, ...], output: str) -> int:
    """Check the files: syntax, schema, plugin configs, references, lint rules.

    Prints one line for each problem, `file:line:col: error[rule]: message`, all of them in one run. Nothing
    is sent anywhere.

    \b
    Examples:
      kgate lint
      kgate lint -f gateway/ -f tenants/order.yaml
      kgate lint --output json

    Exit codes: 0 no errors (there may be warnings), 4 errors.
    """
    project = read_project(ctx, files)
    if output == "json":
        click.echo(json_report.findings(project.findings))
    else:
        for line in human.findings(project.findings):
            click.echo(line)
        if not project.findings:
            click.echo("no findings")
    return exit_codes.FINDINGS if has_errors(project.findings) else exit_codes.OK
