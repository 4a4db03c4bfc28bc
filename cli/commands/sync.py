"""kgate sync"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.commands.diff import last_applied, looked
from cli.errors import FailedError
from cli.nodes import told
from cli.options import file_option
from cli.report import changes
from cli.report import json as json_report
from cli.sync_run import Outcome, run
from cli.target import Target, holder, open_target, target_options
from cli.wait_new import newest, wait_new
from decl.adapter import NAMES
from decl.admin import AdminError
from decl.blobs import BlobError
from decl.change import Diff
from decl.compare import Seen
from decl.lock import HeldError, Lease
from decl.plan import StalePlanError, check_plan, read_plan


@click.command(name="sync")
@file_option
@target_options
@click.option(
    "--plan",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Apply only what this plan of `kgate diff --plan-out` says; refused when anything has changed since.",
)
@click.option(
    "--max-deletes", default="20%", show_default=True, help="Most entities to delete: N, or N% of the live."
)
@click.option("--allow-empty", is_flag=True, help="Push even when the files have no entities.")
@click.option(
    "--strategy",
    type=click.Choice(["canary", "rolling", "all-at-once"]),
    help="Of DB-less nodes: one and then the rest, one after the other, or all.  [default: the file's, rolling]",
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=10, show_default=True, help="Connections in DB mode."
)
@click.option(
    "--wait-new",
    "stay",
    is_flag=True,
    help="Then stay, and push to DB-less nodes that come with another config.",
)
@click.option("--wait-for", type=float, help="Seconds that --wait-new stays.  [default: until it is stopped]")
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    plan: Path | None,
    max_deletes: str,
    allow_empty: bool,
    strategy: str | None,
    workers: int,
    stay: bool,
    wait_for: float | None,
    yes: bool,
    output: str,
    **where: Any,
) -> int:
    """Bring the Kong nodes of a cluster to what the files say.

    The files are checked first; with an error in them nothing is pushed. DB-less nodes get the config in waves,
    behind the cluster's health gate, and their old bytes back when one fails; one that already has it is left
    alone. With a database each entity is written by itself, parents first, the adapter before all; when a write
    fails all are taken back. Only one sync of a cluster runs at a time.

    A busy node (429) is waited for as long as its Retry-After says, up to 60 seconds in all; what a node did not
    take (5xx, a reset) is sent again a few times.

    With --wait-new it stays, and a DB-less node that is new or lost its volume gets the config again within
    seconds. Others may sync meanwhile: when another config was applied it leaves that alone and ends with 8.

    \b
    Examples:
      kgate sync --cluster critical --yes
      kgate sync --plan plan.json --yes
      kgate sync --strategy canary --max-deletes 5
      kgate -f gateway.yaml sync --node http://127.0.0.1:8001

    Exit codes: 0 all nodes have the config, 1 failed or refused and nothing was changed, 2 wrong usage, 4 errors
    in the files, 5 applied in part (the rest is listed), 6 failed and taken back, 7 lock held, 8 stale plan.
    """
    target = open_target(ctx, files, output, **where)
    limit = _limit(max_deletes)
    if not allow_empty and _is_empty(target):
        raise FailedError(
            "the files have no entities: that would empty Kong; say --allow-empty if it is meant"
        )
    try:
        with Lease(target.lock(), holder()) as lease:
            seen = looked(target, lambda: last_applied(target))
            if plan is not None:
                _check_plan(plan, target, seen)
            _refuse(target, seen, limit)
            if seen.changes and not yes and sys.stdin.isatty() and sys.stdout.isatty():
                for line in changes.human(target.name, seen, target.rendered, target.sources):
                    click.echo(line, err=True)
                click.confirm("Apply?", abort=True, err=True)
            chosen: Any = strategy or target.settings.strategy
            outcome = _with_progress(target, seen, lease, chosen, workers, output)
            _report(target, outcome, output)
            code, last = outcome.code, newest(target)
    except HeldError as error:
        click.echo(
            f"kgate: {error}; wait for it (the lock of a killed run ends within a minute), or look with kgate status",
            err=True,
        )
        return exit_codes.LOCK_HELD
    except StalePlanError as error:
        click.echo(f"kgate: stale plan: {error}; make it again with kgate diff --plan-out", err=True)
        return exit_codes.STALE_PLAN
    except (BlobError, AdminError) as error:
        raise FailedError(str(error)) from error
    if stay and target.mode == "dbless" and code == exit_codes.OK:
        return wait_new(target, last, wait_for, lambda outcome: _report(target, outcome, output))
    return code


def _limit(text: str) -> tuple[float, bool]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    if not match:
        raise click.BadParameter("write a number (5) or a share (20%)", param_hint="--max-deletes")
    return float(match[1]), bool(match[2])


def _is_empty(target: Target) -> bool:
    document = target.rendered.document
    own = [plugin for plugin in document.get("plugins", ()) if plugin["name"] not in NAMES]
    return not own and not any(
        items for kind, items in document.items() if isinstance(items, list) and kind != "plugins"
    )


def _check_plan(path: Path, target: Target, seen: Seen) -> None:
    try:
        plan = read_plan(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise FailedError(f"{path}: {error}") from error
    check_plan(plan, target.name, target.mode, target.rendered.content, seen.base)


def _refuse(target: Target, seen: Seen, limit: tuple[float, bool]) -> None:
    for _, found in seen.diffs:
        if found.conflicts:
            raise FailedError("refused: " + "; ".join(found.conflicts))
        _refuse_deletes(found, limit)


def _refuse_deletes(found: Diff, limit: tuple[float, bool]) -> None:
    number, is_share = limit
    allowed = math.ceil(found.live_count * number / 100) if is_share else int(number)
    deletes = [change for change in found.changes if change.action == "delete"]
    if len(deletes) > allowed:
        names = ", ".join(f"{change.kind} {change.name}" for change in deletes[:5])
        more = f" and {len(deletes) - 5} more" if len(deletes) > 5 else ""
        raise FailedError(
            f"refused: {len(deletes)} of {found.live_count} live entities would be deleted ({names}{more}), "
            f"{allowed} are allowed; raise --max-deletes if it is meant"
        )


def _with_progress(
    target: Target, seen: Seen, lease: Lease, strategy: Any, workers: int, output: str
) -> Outcome:
    """On a terminal with a bar: of the nodes, with a database of the changes."""
    if output == "json" or seen.settled or not sys.stderr.isatty():
        return run(target, seen, lease, strategy, workers, notice=told())
    total = (
        len(target.nodes) if target.mode == "dbless" else sum(len(found.changes) for _, found in seen.diffs)
    )
    with click.progressbar(length=total, label=target.name, file=sys.stderr, show_pos=True) as bar:
        return run(target, seen, lease, strategy, workers, lambda done, _: bar.update(done - bar.pos), told())


def _report(target: Target, outcome: Outcome, output: str) -> None:
    if output == "json":
        base = {"version": json_report.VERSION, "cluster": target.name, "hash": target.rendered.hash}
        click.echo(json_report.dump({**base, "mode": target.mode, **outcome.data}))
        return
    for line in outcome.lines:
        click.echo(line)
