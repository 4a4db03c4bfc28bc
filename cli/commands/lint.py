"""kgate lint"""

from __future__ import annotations

from pathlib import Path

import click

from cli import exit_codes
from cli.errors import UsageError
from cli.files import read_project
from cli.fix import apply_fixes
from cli.options import file_option
from cli.report.outputs import Output, output_option, write
from cli.settings import read_settings
from decl.findings import has_errors
from decl.lint import RULES
from decl.lint.view import State
from decl.project import Project

_ROUNDS = 5  # of --fix: a value may need two repairs, and one is written at a time


@click.command(name="lint")
@file_option
@output_option
@click.option("--explain", metavar="RULE", help="Say what a rule is about and why; `all` lists the rules.")
@click.option("--fix", is_flag=True, help="Repair what can be repaired safely, then check again.")
@click.option("--strict", is_flag=True, help="Warnings make the exit code 4 as well.")
@click.option(
    "--redis",
    "redis_url",
    metavar="URL",
    help="Ask the control state too: overrides older than their plan, blocks without an end.",
)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    outputs: tuple[Output, ...],
    explain: str | None,
    fix: bool,
    strict: bool,
    redis_url: str | None,
) -> int:
    """Check the files: syntax, schema, plugin configs, references, lint rules.

    Everything is reported in one run, each finding with its file, line and column. Levels, options and files
    to leave out stand in .kgate.yaml; `# kgate disable-line RULE` in a file switches a rule off there.
    Nothing is sent to Kong.

    \b
    Examples:
      kgate lint
      kgate lint -f gateway/ --env prod
      kgate lint --output github --output sarif=lint.sarif
      kgate lint --explain retry-budget
      kgate lint --fix
      cat gateway.yaml | kgate lint -f -

    Exit codes: 0 no errors (there may be warnings), 2 wrong usage, 4 errors (with --strict warnings too).
    """
    if explain is not None:
        _explain(explain)
        return exit_codes.OK
    state = None if redis_url is None else _state(redis_url)
    project = read_project(ctx, files, state)
    for _ in range(_ROUNDS if fix else 0):
        lines = list(apply_fixes(project))
        if not lines:
            break
        for line in lines:
            click.echo(line, err=True)
        project = read_project(ctx, files, state)
    write(project, outputs)
    return _exit_code(project, strict, files)


def _state(url: str) -> State:
    from cli.lint_state import read_state  # without --redis nobody shall pay for the control state's code

    return read_state(url)


def _exit_code(project: Project, strict: bool, files: tuple[Path, ...]) -> int:
    ctx = click.get_current_context()
    named = (*ctx.find_root().ensure_object(dict).get("files", ()), *files)
    settings, _ = read_settings(named[0] if named else Path("gateway.yaml"))
    bad = has_errors(project.findings) or (project.findings and (strict or settings.fail_on == "warning"))
    return exit_codes.FINDINGS if bad else exit_codes.OK


def _explain(name: str) -> None:
    if name == "all":
        for rule in RULES.values():
            title = (rule.__doc__ or "").splitlines()[0]
            click.echo(f"{rule.ID:36} {rule.LEVEL:8} {title}")
        return
    known = RULES.get(name)
    if known is None:
        raise UsageError(f"there is no rule {name!r}; kgate lint --explain all lists them")
    click.echo(f"{known.ID} ({known.LEVEL})\n\n{(known.__doc__ or '').strip()}")
    options = getattr(known, "OPTIONS", {})
    if options:
        listed = ", ".join(f"{key}: {str(value).lower()}" for key, value in options.items())
        click.echo(f"\nOptions in .kgate.yaml, with their defaults: {listed}")
