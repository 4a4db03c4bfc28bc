"""kgate fallback: answer with the static fallback while a service is in trouble."""

from __future__ import annotations

import click

from cli.operate import Notes, StoreAt, change_options, end_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.fallbacks import Forced
from kong_plugins.state.operations import fallbacks


@click.group(name="fallback")
def command() -> None:
    """Force the static fallback: the gateway answers without asking the service.

    SCOPE is tenant:NAME, service:NAME or route:NAME. It counts on routes with the plugin static-fallback.
    """


@command.command()
@click.argument("scope")
@click.option("--name", help="The prepared answer to give.  [default: the plugin's choice]")
@change_options
@store_options
def force(scope: str, name: str | None, notes: Notes, at: StoreAt, output: str) -> None:
    """Answer requests of SCOPE with the fallback, until it is cleared or --ttl is over.

    \b
    Examples:
      kgate fallback force service:checkout --reason "database moves" --ttl 15m
      kgate fallback force route:menu --name empty-menu
    """
    with opened(at) as store:
        forced = fallbacks.force(store, scope, name=name, **notes.lasting(store))
    click.echo(report.dump(report.record(forced)) if output == "json" else f"forced {_line(forced)}")


@command.command()
@click.argument("scope")
@end_options
@store_options
def clear(scope: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Ask the service of SCOPE again.

    \b
    Examples:
      kgate fallback clear service:checkout
    """
    with opened(at) as store:
        forced = fallbacks.clear(store, scope, **notes.said())
    if output == "json":
        click.echo(report.dump({**report.record(forced), "removed": True}))
    else:
        click.echo(f"cleared {forced.scope}:{report.printable(forced.value)}")


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the forced fallbacks.

    \b
    Examples:
      kgate fallback list
      kgate fallback list --output json
    """
    with opened(at) as store:
        found = fallbacks.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(forced) for forced in found]))
        return
    for forced in found:
        click.echo(_line(forced))
    if not found:
        click.echo("no fallback is forced")


def _line(forced: Forced) -> str:
    name = f" with {report.printable(forced.name)}" if forced.name else ""
    about = report.by(forced.actor, forced.reason)
    return f"{forced.scope}:{report.printable(forced.value)}{name}  {report.until(forced.expires)}  {about}"
