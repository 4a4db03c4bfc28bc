"""kgate allow: whom no block may touch."""

from __future__ import annotations

import click

from cli.operate import Notes, StoreAt, change_options, end_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.operations import allows


@click.group(name="allow")
def command() -> None:
    """Allow addresses, networks and users: no block may touch them.

    `kgate block` refuses to block what is allowed, imports too. TARGET is an address, a network as ADDRESS/BITS
    (not wider than /8, IPv6 /16) or a verified user as user:SUBJECT or 'user:ISSUER|SUBJECT'.
    """


@command.command()
@click.argument("target")
@change_options
@store_options
def add(target: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Allow TARGET, or renew its allow. Without a --ttl it has no end.

    \b
    Examples:
      kgate allow add 198.51.100.0/24 --reason "our office"
      kgate allow add user:alice --ttl 2h
    """
    with opened(at) as store:
        allow = allows.add(store, target, **notes.lasting(store))
    if output == "json":
        click.echo(report.dump(report.record(allow)))
    else:
        click.echo(f"allowed {report.target(allow.kind, allow.value)} {report.until(allow.expires)}")


@command.command()
@click.argument("target")
@end_options
@store_options
def rm(target: str, notes: Notes, at: StoreAt, output: str) -> None:
    """End the allow of TARGET: it can be blocked again.

    \b
    Examples:
      kgate allow rm user:alice
    """
    with opened(at) as store:
        allow = allows.remove(store, target, **notes.said())
    if output == "json":
        click.echo(report.dump({**report.record(allow), "removed": True}))
    else:
        click.echo(f"{report.target(allow.kind, allow.value)} is not allowed any more")


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List what is allowed.

    \b
    Examples:
      kgate allow list
      kgate allow list --output json
    """
    with opened(at) as store:
        found = allows.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(allow) for allow in found]))
        return
    for allow in found:
        about = report.by(allow.actor, allow.reason)
        click.echo(f"{report.target(allow.kind, allow.value)}  {report.until(allow.expires)}  {about}")
    if not found:
        click.echo("nothing is allowed by itself")
