"""kgate block: refuse addresses, networks and users at the gateway, at once and without a config push."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from cli.store_options import Failed, WrongUsage, actor_option, note, opened, printable, store_options, utc
from kong_plugins.state.base import Block, ControlStore
from kong_plugins.state.blocks import Blocks, parse_target

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TTL = re.compile(r"([0-9]{1,9})([smhd])")
_LONGEST = 3650 * _UNITS["d"]


@click.group(name="block")
def command() -> None:
    """Block addresses, networks and users.

    A block reaches every plugin server that follows the same Redis within a second, and ends by itself
    when it has a --ttl. It counts on routes with the plugin abuse-guard; the plugin's `allow` list wins
    over it.

    TARGET is an address, a network as ADDRESS/BITS (not wider than /8, IPv6 /16), or a verified user as
    user:SUBJECT or 'user:ISSUER|SUBJECT'.
    """


@command.command()
@click.argument("target")
@click.option("--reason", default="", help="Why; for other operators, clients never see it.")
@click.option("--ttl", help="How long: a number and s, m, h or d. Without it the block has no end.")
@actor_option
@store_options
def add(
    target: str, reason: str, ttl: str | None, actor: str, redis_url: str, namespace: str, output: str
) -> None:
    """Block TARGET, or renew its block.

    \b
    Examples:
      kgate block add 203.0.113.7 --ttl 10m --reason "scans the login page"
      kgate block add 2001:db8:bad::/48 --ttl 1d
      kgate block add user:alice --reason "stolen account"
    """
    kind, value = _target(target)
    seconds = None if ttl is None else _seconds(ttl)
    reason, actor = note("reason", reason), note("actor", actor)
    with opened(redis_url, namespace) as store:
        now = store.now()
        block = Block(kind, value, reason, actor, now, None if seconds is None else now + seconds)
        version = store.add_block(block)
    if output == "json":
        click.echo(json.dumps({**_record(block), "version": version}))
    else:
        click.echo(f"blocked {value} {_until(block)}")


@command.command()
@click.argument("target")
@store_options
def rm(target: str, redis_url: str, namespace: str, output: str) -> None:
    """Lift the block of TARGET.

    \b
    Examples:
      kgate block rm 203.0.113.7
      kgate block rm user:alice
    """
    kind, value = _target(target)
    with opened(redis_url, namespace) as store:
        removed = store.remove_block(kind, value)
        cover = _cover(store, kind, value)
    if not removed:
        hint = f"covered by {cover}: kgate block rm {cover}" if cover else "see kgate block list"
        raise Failed(f"{value} has no block of its own; {hint}")
    if output == "json":
        click.echo(json.dumps({"kind": kind, "value": value, "removed": True, "covered_by": cover}))
    else:
        click.echo(f"unblocked {value}" + (f", but it is still covered by {cover}" if cover else ""))


@command.command(name="list")
@store_options
def list_(redis_url: str, namespace: str, output: str) -> None:
    """List the blocks in force.

    \b
    Examples:
      kgate block list
      kgate block list --output json
    """
    with opened(redis_url, namespace) as store:
        blocks = store.list_blocks()
    if output == "json":
        click.echo(json.dumps([_record(block) for block in blocks]))
        return
    for block in blocks:
        why = f"  {printable(block.reason)}" if block.reason else ""
        name = f"user:{printable(block.value)}" if block.kind == "user" else block.value
        click.echo(f"{name}  {_until(block)}  by {printable(block.actor)}{why}")
    if not blocks:
        click.echo("nothing is blocked")


def _target(text: str) -> tuple[str, str]:
    try:
        return parse_target(text)
    except ValueError as error:
        raise WrongUsage(str(error)) from error


def _seconds(ttl: str) -> int:
    found = _TTL.fullmatch(ttl)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise WrongUsage(f"--ttl {ttl!r}: write a number and s, m, h or d, like 10m; 3650d at most")
    return seconds


def _cover(store: ControlStore, kind: str, value: str) -> str:
    """The network block that covers an address, if any: lifting the address alone does not help then."""
    if kind != "ip":
        return ""
    found = Blocks(store.list_blocks()).match(value, store.now())
    return found.value if found is not None else ""


def _until(block: Block) -> str:
    return "without end" if block.expires is None else f"until {utc(block.expires)}"


def _record(block: Block) -> dict[str, Any]:
    return block._asdict()
