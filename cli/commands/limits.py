"""kgate limits: forget what rate limits counted."""

from __future__ import annotations

import click

from cli.operate import Notes, StoreAt, change_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.limits import LimitReset
from kong_plugins.state.operations import limits


@click.group(name="limits")
def command() -> None:
    """Forget what rate limits counted, and list what was forgotten.

    The counters live in the plugin servers; a reset reaches all of them within a second.
    """


@command.command()
@click.argument("key")
@change_options
@store_options
def reset(key: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Forget what was counted for the limit's KEY, or '*' for all. The record stays for an hour (or --ttl).

    \b
    Examples:
      kgate limits reset "ip 203.0.113.7" --reason "it was our own test"
      kgate limits reset '*'
    """
    with opened(at) as store:
        made = limits.reset(store, key, **notes.lasting(store))
    click.echo(report.dump(report.record(made)) if output == "json" else _line(made))


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the resets that plugin servers may still have to make.

    \b
    Examples:
      kgate limits list
      kgate limits list --output json
    """
    with opened(at) as store:
        found = limits.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(one) for one in found]))
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo("no limit was reset lately")


def _line(one: LimitReset) -> str:
    return (
        f"{report.printable(one.key)}  reset at {report.utc(one.reset)}  {report.by(one.actor, one.reason)}"
    )
