"""kgate limits: who is being limited, and forgetting what rate limits counted."""

from __future__ import annotations

import click

from cli.operate import Notes, StoreAt, change_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.limits import Limited, LimitReset
from kong_plugins.state.operations import limits


@click.group(name="limits")
def command() -> None:
    """Show which rate limits refuse requests, and forget what they counted.

    The counters live in the plugin servers, which tell once a second what they refuse; a reset reaches all of
    them as fast as a block does.
    """


@command.command()
@click.argument("key")
@change_options
@store_options
def reset(key: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Forget what was counted for KEY: a limit's key as `kgate limits list` shows it, a client ('ip V', 'user
    ISSUER|SUBJECT': the limits that refused it in the last minute), or '*' for all.

    The record stays for an hour (or --ttl), for plugin servers that are away.

    \b
    Examples:
      kgate limits reset "per-user user=https://auth.example.com|kim" --reason "it was our own test"
      kgate limits reset "ip 203.0.113.7"
      kgate limits reset '*'
    """
    with opened(at) as store:
        made = limits.reset(store, key, **notes.lasting(store))
    click.echo(report.dump(report.record(made)) if output == "json" else _line(made))


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the limits that refused requests in the last minute, and the resets of the last hour.

    \b
    Examples:
      kgate limits list
      kgate limits list --output json
    """
    with opened(at) as store:
        now, resets = limits.limited(store), limits.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(one) for one in (*now, *resets)]))
        return
    for at_limit in now:
        click.echo(_limited(at_limit))
    for one in resets:
        click.echo(_line(one))
    if not now and not resets:
        click.echo("no limit refused a request or was reset lately")


def _limited(one: Limited) -> str:
    nodes = "1 node" if one.nodes == 1 else f"{one.nodes} nodes"
    wait = f"the next request in {one.wait:.1f} s" if one.wait else "requests are admitted again"
    return (
        f"{report.printable(one.key)}  {one.refused:,} refused on {nodes}, {one.capacity} at once and one each "
        f"{one.seconds:g} s, {wait}"
    )


def _line(one: LimitReset) -> str:
    return (
        f"{report.printable(one.key)}  reset at {report.utc(one.reset)}  {report.by(one.actor, one.reason)}"
    )
