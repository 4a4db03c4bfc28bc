"""kgate canary: change what a canary's plan says, at once and without a config push."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from cli.store_options import Failed, WrongUsage, actor_option, note, opened, printable, store_options, utc
from kong_plugins.canary_router.config import check_name
from kong_plugins.state.base import CanaryOverride, Conflict, ControlStore

_TRIES = 5
_MAX_USERS = 10_000


@click.group(name="canary")
def command() -> None:
    """Steer canaries while they run.

    An override stands above the plan that is configured in the plugin canary-router, and reaches every
    plugin server that follows the same Redis within a second. What it does not name keeps the plan's value.
    """


@command.command(name="set")
@click.argument("name")
@click.option("--percent", help="Share of the verified users that sees the canary, 0 to 100.")
@click.option("--users", help="Pinned users in place of the plan's: SUBJECT or ISSUER|SUBJECT, by commas.")
@click.option("--pause/--resume", "paused", default=None, help="Send everybody to the control group, or not.")
@click.option("--reset", is_flag=True, help="Forget the override: follow the plan again.")
@click.option("--if-version", type=int, help="Only if the override is at this version; 0: there is none.")
@actor_option
@store_options
def set_(
    name: str,
    percent: str | None,
    users: str | None,
    paused: bool | None,
    reset: bool,
    if_version: int | None,
    actor: str,
    redis_url: str,
    namespace: str,
    output: str,
) -> None:
    """Override the plan of the canary NAME.

    \b
    Examples:
      kgate canary set checkout-v2 --percent 10
      kgate canary set checkout-v2 --users alice,bob
      kgate canary set checkout-v2 --pause
      kgate canary set checkout-v2 --percent 20 --if-version 3
      kgate canary set checkout-v2 --reset
    """
    changes = _changes(percent, users, paused)
    if reset and changes:
        raise WrongUsage("--reset goes with no other change")
    if not reset and not changes:
        raise WrongUsage("nothing to set: give --percent, --users, --pause, --resume or --reset")
    try:
        check_name(name)
    except ValueError as error:
        raise WrongUsage(str(error)) from error
    changes["actor"] = note("actor", actor)
    with opened(redis_url, namespace) as store:
        try:
            stored = _store(store, name, changes, reset, if_version)
        except Conflict as error:
            raise Failed(f"{error}; look at kgate canary list and try again") from error
    click.echo(json.dumps(_record(stored)) if output == "json" else _line(stored))


@command.command(name="list")
@store_options
def list_(redis_url: str, namespace: str, output: str) -> None:
    """List the overrides.

    \b
    Examples:
      kgate canary list
      kgate canary list --output json
    """
    with opened(redis_url, namespace) as store:
        overrides = store.list_canaries()
    if output == "json":
        click.echo(json.dumps([_record(override) for override in overrides]))
        return
    for override in overrides:
        click.echo(f"{_line(override)}, {utc(override.changed)} by {printable(override.actor)}")
    if not overrides:
        click.echo("no canary is overridden: all follow their plans")


def _changes(percent: str | None, users: str | None, paused: bool | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if percent is not None:
        changes["percent"] = _percent(percent)
    if users is not None:
        changes["users"] = frozenset(user.strip() for user in users.split(",") if user.strip())
        if len(changes["users"]) > _MAX_USERS:
            raise WrongUsage(f"--users: at most {_MAX_USERS}")
    if paused is not None:
        changes["paused"] = paused
    return changes


def _percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise WrongUsage(f"--percent {text!r}: write a number from 0 to 100")
    return percent


def _store(
    store: ControlStore, name: str, changes: dict[str, Any], reset: bool, if_version: int | None
) -> CanaryOverride:
    """Read, change, write if nobody else has written. Without `if_version` a lost race is run again."""
    for left in reversed(range(_TRIES)):
        old = store.get_canary(name)
        base = CanaryOverride(name) if old is None or reset else old
        version = if_version if if_version is not None else (0 if old is None else old.version)
        try:
            return store.set_canary(base._replace(**changes, changed=store.now()), version)
        except Conflict:
            if if_version is not None or not left:
                raise
    raise AssertionError("unreachable")


def _record(override: CanaryOverride) -> dict[str, Any]:
    users = None if override.users is None else sorted(override.users)
    return {**override._asdict(), "users": users}


def _line(override: CanaryOverride) -> str:
    percent = "percent of the plan" if override.percent is None else f"{override.percent:g}%"
    users = "users of the plan" if override.users is None else f"{len(override.users)} pinned users"
    state = "paused" if override.paused else "running"
    return f"{printable(override.name)}: {state}, {percent}, {users}, version {override.version}"
