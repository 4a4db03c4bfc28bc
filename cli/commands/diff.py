"""kgate diff"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli import canary_drift, exit_codes
from cli.errors import FailedError
from cli.options import file_option
from cli.report import changes
from cli.report import json as json_report
from cli.target import Target, open_target, target_options
from decl.admin import AdminError
from decl.blobs import BlobError
from decl.compare import Last, Seen
from decl.flatten import Flat, flatten
from decl.plan import plan_of


@click.command(name="diff")
@file_option
@target_options
@click.option(
    "--plan-out", type=click.Path(path_type=Path, dir_okay=False), help="Save the plan for sync --plan."
)
@click.option(
    "--output", type=click.Choice(["human", "json", "markdown"]), default="human", show_default=True,
    help="markdown: made for a comment in a pull request.",
)  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context, /, files: tuple[Path, ...], plan_out: Path | None, output: str, **where: Any
) -> int:
    """Show what sync would change on the live nodes of a cluster.

    A DB-less node is asked for its hash first, and read only when it is another. Both sides are compared as the
    server would hold them, so defaults, times and the order of sets are no differences. With a history, each
    change says which side moved since the last apply: the file, the live Kong, or both.

    \b
    Examples:
      kgate diff --cluster critical
      kgate diff --plan-out plan.json && kgate sync --plan plan.json
      kgate diff --output markdown > comment.md

    Exit codes: 0 no changes, 1 failed, 2 wrong usage, 3 changes pending, 4 errors in the files.
    """
    target = open_target(ctx, files, output, **where)
    seen = looked(target, lambda: last_applied(target))
    if plan_out is not None:
        save_plan(target, seen, plan_out)
    args = (seen, target.rendered, target.sources)
    overridden = canary_drift.overridden(target.gateway, target.redis)
    if output == "json":
        found = {**changes.as_json(target.name, target.mode, *args), "canaries": overridden}
        click.echo(json_report.dump(found))
    else:
        for line in (changes.markdown if output == "markdown" else changes.human)(target.name, *args):
            click.echo(line)
        for line in canary_drift.lines(overridden):
            click.echo(f"- {line}" if output == "markdown" else line)
    if seen.away and target.mode == "dbless":
        return exit_codes.FAILED
    return exit_codes.CHANGES_PENDING if seen.changes else exit_codes.OK


def looked(target: Target, last: Last) -> Seen:
    """The comparison. Raises FailedError."""
    try:
        return target.compare(last)
    except AdminError as error:
        raise FailedError(str(error)) from error


def last_applied(target: Target) -> Flat | None:
    """What the last apply wrote, None where there is no history of it."""
    import json

    try:
        history = target.history()
        entry = history.last_applied()
        content = history.content(entry.digest) if entry is not None else None
    except BlobError as error:
        click.echo(f"kgate: no history: {error}", err=True)
        return None
    return None if content is None else flatten(json.loads(content), target.tags)


def save_plan(target: Target, seen: Seen, path: Path) -> None:
    """Write the plan of a comparison. Raises FailedError."""
    from importlib import metadata

    content = target.rendered.content
    found = max((each for _, each in seen.diffs), key=lambda each: len(each.changes), default=None)
    if found is None:
        from decl.change import Diff

        found = Diff()
    plan = plan_of(target.name, target.mode, content, seen.base, found, f"kgate {metadata.version('kgate')}")
    try:
        path.write_text(plan.text(), encoding="utf-8")
    except OSError as error:
        raise FailedError(f"cannot write {path}: {error.strerror}") from error
