"""kgate list: named lists of users or addresses that configs name."""

from __future__ import annotations

import click

from cli.imports import import_options, run_import, set_name
from cli.operate import Notes, StoreAt, change_options, end_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.lists import LIST_KINDS
from kong_plugins.state.operations import lists


@click.group(name="list")
def command() -> None:
    """Keep named lists of users or addresses, which configs name in place of long lists of their own."""


@command.command(name="import")
@import_options()
@click.option("--kind", type=click.Choice(LIST_KINDS), required=True, help="What the list holds.")
@change_options
@store_options
def import_(
    file: str,
    name: str | None,
    form: str,
    if_version: int | None,
    dry_run: bool,
    kind: str,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Make the entries in FILE (- for stdin) one list, in one step or not at all.

    FILE has one entry a line, or is a CSV with a column target, user, ip, cidr or address. A user is SUBJECT or
    ISSUER|SUBJECT. A list of that name is replaced.

    \b
    Examples:
      kgate list import beta-users.txt --kind users --reason "beta of May"
      kgate list import office.txt --kind addresses --name office --dry-run

    Exit codes: 0 imported, 1 Redis is away or full, or somebody else replaced the list, 2 wrong usage,
    4 entries that cannot be taken: nothing was written.
    """
    args = (set_name(file, name, None), kind)
    run_import(lists.import_list, kind, args, file, form, if_version, dry_run, notes, at, output)


@command.command()
@click.argument("name", required=False)
@store_options
def show(name: str | None, at: StoreAt, output: str) -> None:
    """Print the entries of the list NAME, sorted; without NAME the lists.

    \b
    Examples:
      kgate list show
      kgate list show beta-users
      kgate list show beta-users --output json
    """
    if name is None:
        with opened(at) as store:
            every = lists.entries(store)
        if output == "json":
            click.echo(report.dump([report.record(one) for one in every]))
        else:
            click.echo("\n".join(map(report.row_set, every)) or "there are no lists")
        return
    with opened(at) as store:
        found, rows = lists.show(store, name)
        entries = sorted(rows)
    if output == "json":
        click.echo(report.dump({**report.record(found), "entries": entries}))
    else:
        click.echo("".join(f"{report.printable(entry)}\n" for entry in entries), nl=False)


@command.command()
@click.argument("name")
@end_options
@store_options
def rm(name: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Remove the list NAME: configs that name it find nobody in it.

    \b
    Examples:
      kgate list rm beta-users
    """
    with opened(at) as store:
        removed = lists.remove(store, name, **notes.said())
    if output == "json":
        click.echo(report.dump({**report.record(removed), "removed": True}))
    else:
        click.echo(f"removed {removed.name} with {removed.size:,} {removed.kind}")
