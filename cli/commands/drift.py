"""kgate drift"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click

from cli import exit_codes
from cli.errors import FailedError
from cli.options import file_option
from cli.target import Target, open_target, target_options
from decl.admin import AdminError
from decl.blobs import BlobError
from decl.render import Rendered
from decl.source import Sources


class _Found(NamedTuple):
    """away: nodes that could not be asked, and why."""

    drifted: tuple[str, ...]
    away: Mapping[str, str]
    changes: int


@click.command(name="drift")
@file_option
@target_options
@click.option(
    "--against",
    type=click.Choice(["files", "applied"]),
    default="files",
    show_default=True,
    help="What the nodes should hold: what the files say, or what was applied last.",
)
@click.option(
    "--watch", type=click.FloatRange(min=0.1), help="Look again every so many seconds, until it is stopped."
)
@click.option("--count", type=click.IntRange(min=1), help="With --watch: how often.")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write kgate_drift there after each look, for a node exporter's textfile collector.",
)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    against: str,
    watch: float | None,
    count: int | None,
    metrics_file: Path | None,
    output: str,
    **where: Any,
) -> int:
    """Say whether live nodes hold something else than they should.

    A DB-less node costs one small request a look. The exit code is that of the last look. A watch follows what is
    applied meanwhile with --against applied, and nodes behind a dns+http name; files are read once.

    \b
    Examples:
      kgate drift                                        # in a cron job
      kgate drift --against applied --watch 30 --metrics-file /var/lib/node_exporter/kgate.prom

    Exit codes: 0 no drift, 1 a node is away, 2 wrong usage, 4 errors in the files, 9 drift.
    """
    target = open_target(ctx, files, output, **where)
    if against == "applied":
        _take_applied(target)
    looks = 0
    while True:
        found = _look(target)
        looks += 1
        _tell(target, found, output)
        if metrics_file is not None:
            _write_metrics(metrics_file, target, found)
        code = exit_codes.DRIFT if found.drifted else exit_codes.FAILED if found.away else exit_codes.OK
        if watch is None or (count is not None and looks >= count):
            return code
        try:
            time.sleep(watch)
        except KeyboardInterrupt:
            return code
        _follow(target, against)


def _follow(target: Target, against: str) -> None:
    """What may have changed since the last look: the nodes behind a name, and what others have applied."""
    with contextlib.suppress(FailedError):  # the nodes that were there will be told to be away
        target.resolve_again()
    if against == "applied":
        try:
            _take_applied(target)
        except FailedError as error:
            click.echo(f"kgate: still against what was applied before: {error}", err=True)


def _take_applied(target: Target) -> None:
    try:
        history = target.history()
        entry = history.last_applied()
        content = history.content(entry.digest) if entry is not None else None
    except BlobError as error:
        raise FailedError(str(error)) from error
    if content is None:
        raise FailedError("nothing was applied from here: there is no history; use --against files")
    target.rendered, target.sources = Rendered(target.name, json.loads(content), {}), Sources(())


def _look(target: Target) -> _Found:
    try:
        seen = target.compare(details=False)
    except AdminError as error:
        return _Found((), {error.node: error.reason}, 0)
    if target.mode == "dbless":
        drifted = tuple(node for nodes, _ in seen.diffs for node in nodes)
        return _Found(drifted, seen.away, len(drifted))
    changes = sum(len(found.changes) + len(found.conflicts) for _, found in seen.diffs)
    return _Found(tuple(seen.diffs[0][0]) if changes else (), seen.away, changes)


def _tell(target: Target, found: _Found, output: str) -> None:
    if output == "json":
        told = {**found._asdict(), "away": list(found.away), "reasons": dict(found.away)}
        click.echo(json.dumps({"version": 1, "cluster": target.name, "drift": bool(found.drifted), **told}))
        return
    for node in found.drifted:
        click.echo(f"{node}: drift")
    for node, reason in found.away.items():
        click.echo(f"{node}: away: {reason}")
    if not found.drifted and not found.away:
        click.echo(f"cluster {target.name}: no drift")


def _write_metrics(path: Path, target: Target, found: _Found) -> None:
    label = target.name.replace("\\", "\\\\").replace('"', '\\"')
    text = (
        "# HELP kgate_drift 1 when live nodes hold something else than they should.\n# TYPE kgate_drift gauge\n"
        f'kgate_drift{{cluster="{label}"}} {int(bool(found.drifted))}\n'
        "# HELP kgate_drift_nodes Nodes that hold something else.\n# TYPE kgate_drift_nodes gauge\n"
        f'kgate_drift_nodes{{cluster="{label}"}} {len(found.drifted)}\n'
        "# HELP kgate_drift_nodes_away Nodes that could not be asked.\n# TYPE kgate_drift_nodes_away gauge\n"
        f'kgate_drift_nodes_away{{cluster="{label}"}} {len(found.away)}\n'
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise FailedError(f"cannot write {path}: {error.strerror}") from error
