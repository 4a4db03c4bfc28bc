"""kgate block: refuse addresses, networks, users, tokens and agents at the gateway, at once and without a push."""

from __future__ import annotations

from pathlib import Path

import click

from cli.errors import FailedError, UsageError
from cli.imports import import_options, run_import, set_name
from cli.operate import Notes, StoreAt, change_options, end_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.base import Block
from kong_plugins.state.lists import RowSet
from kong_plugins.state.operations import blocks, imports


@click.group(name="block")
def command() -> None:
    """Block addresses, networks, users, tokens and user agents.

    A block reaches every plugin server that follows the same Redis within a second, and ends by itself
    when it has a --ttl. It counts on routes with the plugin abuse-guard; what is allowed (`kgate allow`) cannot
    be blocked.

    TARGET is an address, a network as ADDRESS/BITS (not wider than /8, IPv6 /16), a verified user as
    user:SUBJECT or 'user:ISSUER|SUBJECT', a token's id (jti) as token:ID or 'token:ISSUER|ID', or a part of a
    User-Agent as agent:PART.
    """


@command.command()
@click.argument("target")
@click.option("--dry-run", is_flag=True, help="Check, but write nothing.")
@change_options
@store_options
def add(target: str, dry_run: bool, notes: Notes, at: StoreAt, output: str) -> None:
    """Block TARGET, or renew its block. Without a --ttl the block has no end.

    \b
    Examples:
      kgate block add 203.0.113.7 --ttl 10m --reason "scans the login page"
      kgate block add 2001:db8:bad::/48 --ttl 1d
      kgate block add user:alice --reason "stolen account"
      kgate block add agent:badbot --dry-run

    Exit codes: 0 blocked, 1 Redis is away or full, 2 TARGET or TTL cannot be right, 4 it touches an allow.
    """
    with opened(at) as store:
        block = blocks.add(store, target, dry_run=dry_run, **notes.lasting(store))
    if output == "json":
        click.echo(report.dump({**report.record(block), "dry_run": dry_run}))
    else:
        done = "would block" if dry_run else "blocked"
        click.echo(f"{done} {report.target(block.kind, block.value)} {report.until(block.expires)}")


@command.command()
@click.argument("target", required=False)
@click.option("--set", "name", help="Lift all blocks of an imported set, in place of TARGET.")
@end_options
@store_options
def rm(target: str | None, name: str | None, notes: Notes, at: StoreAt, output: str) -> None:
    """Lift the block of TARGET, or those of an imported set.

    \b
    Examples:
      kgate block rm 203.0.113.7
      kgate block rm user:alice --reason "it was her"
      kgate block rm --set blocklist
    """
    if (target is None) == (name is None):
        raise UsageError("give a TARGET, or --set NAME for an imported set")
    if name is not None:
        with opened(at) as store:
            removed = imports.remove(store, name, **notes.said())
        _removed_set(removed, output)
        return
    assert target is not None
    with opened(at) as store:
        done = blocks.remove(store, target, **notes.said())
    kind, value, left = done.block.kind, done.block.value, done.left
    cover = report.target(left.block.kind, left.block.value) if left.block is not None else ""
    if output == "json":
        click.echo(report.dump({"kind": kind, "value": value, "removed": True, "covered_by": cover}))
    else:
        still = f", but it is still covered by {cover}" if cover else ""
        click.echo(f"unblocked {report.target(kind, value)}{still}")


def _removed_set(removed: RowSet, output: str) -> None:
    if output == "json":
        click.echo(report.dump({**report.record(removed), "removed": True}))
    else:
        click.echo(f"unblocked the {removed.size:,} targets of {removed.name}")


@command.command(name="list")
@click.option("--sets", is_flag=True, help="The imported sets alone.")
@click.option("--all", "every", is_flag=True, help="The rows of the imported sets too.")
@store_options
def list_(sets: bool, every: bool, at: StoreAt, output: str) -> None:
    """List the blocks in force; imported sets are one line each.

    With --output json: the blocks, with --all those of the imported sets too, or with --sets the sets.

    \b
    Examples:
      kgate block list
      kgate block list --all --output json
      kgate block list --sets
    """
    with opened(at) as store:
        found = [] if sets else list(blocks.entries(store, imported=every))
        imported = [] if every else imports.sources(store)
    if output == "json":
        click.echo(report.dump([report.record(one) for one in (imported if sets else found)]))
        return
    for block in found:
        click.echo(report.block(block))
    for source in imported:
        click.echo(f"set {report.row_set(source)}")
    if not found and not imported:
        click.echo("nothing is blocked")


@command.command()
@click.argument("target")
@store_options
def check(target: str, at: StoreAt, output: str) -> None:
    """Say which blocks and which allow cover TARGET; a whole User-Agent is asked as agent:TEXT.

    Asks the control state, not a route: `kgate explain` says what a route's plugins make of a request.

    \b
    Examples:
      kgate block check 203.0.113.7
      kgate block check user:alice --output json
      kgate block check "agent:Mozilla/5.0 (compatible; badbot/1.0)"
    """
    with opened(at) as store:
        found = blocks.check(store, target)
    if output == "json":
        click.echo(report.dump(report.coverage(found)))
        return
    name = report.target(found.kind, found.value)
    if found.block is None:
        click.echo(f"{name} is not blocked")
    elif found.allow is not None:
        allow = report.target(found.allow.kind, found.allow.value)
        click.echo(f"{name} is allowed by {allow}, {report.until(found.allow.expires)}; it lifts:")
    else:
        click.echo(f"{name} is blocked:")
    for block in found.blocks:
        click.echo(f"  {report.block(block)}")


@command.command(name="import")
@import_options("crowdsec", "crowdsec: what `cscli decisions list -o json` prints.")
@change_options
@store_options
def import_(
    file: str,
    name: str | None,
    form: str,
    if_version: int | None,
    dry_run: bool,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Make the targets in FILE (- for stdin) one set of blocks, in one step or not at all.

    FILE has one TARGET a line, or is a CSV with a column target (or ip, cidr, address, user) and, if wanted,
    reason, ttl or expires. A set of that name is replaced: what is not in FILE any more is lifted.

    \b
    Examples:
      kgate block import blocklist.csv --reason "feed of the week" --ttl 7d
      kgate block import addresses.txt --name scanners --dry-run
      kgate block import decisions.json --format crowdsec

    Exit codes: 0 imported, 1 Redis is away or full, or somebody else replaced the set, 2 wrong usage,
    4 rows that cannot be taken: nothing was written.
    """
    set_ = set_name(file, name, "crowdsec" if form == "crowdsec" else None)
    run_import(imports.import_blocks, "blocks", (set_,), file, form, if_version, dry_run, notes, at, output)


@command.command()
@click.argument("file", default="-", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--own", is_flag=True, help="Without the imported sets.")
@store_options
def export(file: Path, own: bool, at: StoreAt, output: str) -> None:
    """Write the blocks in force to FILE (- for stdout) as a CSV that `kgate block import` reads.

    \b
    Examples:
      kgate block export blocks.csv
      kgate block export --own
      kgate block export --output json
    """
    with opened(at) as store:
        found = list(blocks.entries(store, imported=not own))
    if output == "json":
        text = report.dump([report.record(block) for block in found]) + "\n"
    else:
        text = "".join(f"{line}\n" for line in imports.export_lines(map(_printable, found)))
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailedError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {len(found):,} blocks to {file}", err=True)


def _printable(block: Block) -> Block:
    # as an import takes it, and as a terminal may show it
    texts = (report.printable(text) for text in (block.reason, block.actor, block.source))
    reason, actor, source = texts
    return block._replace(reason=reason, actor=actor, source=source)
