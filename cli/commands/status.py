"""kgate status"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from cli import canary_drift, exit_codes
from cli.errors import FailedError
from cli.options import file_option
from cli.target import Target, open_target, target_options, unix_time
from decl.admin import AdminError
from decl.blobs import BlobError
from decl.change import LOCK_NAME
from decl.compare import data_planes
from decl.lock import told


@click.command(name="status")
@file_option
@target_options
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(ctx: click.Context, /, files: tuple[Path, ...], output: str, **where: Any) -> int:
    """Show the nodes of a cluster: who answers, who has the config of the files, and what was applied last.

    \b
    Examples:
      kgate status
      kgate status --cluster critical --output json

    Exit codes: 0 all nodes have the config, 1 a node is away, 2 wrong usage, 3 changes pending, 4 errors in the
    files.
    """
    target = open_target(ctx, files, output, **where)
    try:
        seen = target.compare(details=False)
    except AdminError as error:
        raise FailedError(str(error)) from error
    other = {
        node
        for nodes, found in seen.diffs
        for node in nodes
        if target.mode == "dbless" or found.changes or found.conflicts
    }
    nodes = []
    for node in target.nodes:
        state = "away" if node.url in seen.away else "other config" if node.url in other else "in sync"
        if state == "in sync" and seen.client is not None and node.url != seen.client.node:
            continue  # they share one database
        nodes.append({"node": node.url, "state": state, "hash": seen.base.get(node.url, ""),
                      "reason": seen.away.get(node.url, "")})  # fmt: skip
    planes = _planes(target, seen.client) if target.mode == "hybrid" else {}
    last, interrupted = _last(target)
    lock = _lock(target, seen.client)
    overridden = canary_drift.overridden(target.gateway, target.redis)
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "version": 1,
                    "cluster": target.name,
                    "mode": target.mode,
                    "hash": target.rendered.hash,
                    "nodes": nodes,
                    "data_planes": planes,
                    "last_applied": last,
                    "interrupted": interrupted,
                    "lock": lock,
                    "canaries": overridden,
                }
            )
        )
    else:
        click.echo(f"cluster {target.name} ({target.mode}), the files make {target.rendered.hash}")
        for item in nodes:
            click.echo(f"  {item['node']}: {item['state']}{': ' + item['reason'] if item['reason'] else ''}")
        for name, digest in planes.items():
            click.echo(f"  data plane {name}: {digest}")
        click.echo(f"  last applied: {last['id'] + ' by ' + last['actor'] if last else 'nothing from here'}")
        if interrupted:
            click.echo(f"  apply {interrupted} was interrupted: run kgate sync again, or kgate rollback")
        if lock:
            click.echo(f"  lock: {lock}")
        for line in canary_drift.lines(overridden):
            click.echo(f"  {line}")
    if seen.away:
        return exit_codes.FAILED
    return exit_codes.CHANGES_PENDING if other else exit_codes.OK


def _planes(target: Target, client: Any) -> dict[str, str]:
    try:
        return data_planes(client)
    except AdminError as error:
        click.echo(f"kgate: no data planes: {error}", err=True)
        return {}


def _last(target: Target) -> tuple[dict[str, Any] | None, str | None]:
    try:
        history = target.history()
        last, interrupted = history.last_applied(), history.interrupted()
    except BlobError as error:
        click.echo(f"kgate: no history: {error}", err=True)
        return None, None
    return (last._asdict() if last else None), (interrupted.id if interrupted else None)


def _lock(target: Target, client: Any) -> str:
    """Who holds the lock in the database; the other locks are seen when one tries."""
    if client is None or target.redis is not None:
        return ""
    try:
        found = client.get(f"/upstreams/{LOCK_NAME}")
    except AdminError:
        return ""
    return told(found, unix_time())
