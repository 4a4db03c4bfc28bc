"""kgate canary: change what a canary's plan says, at once and without a config push."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cli import canary_commands, canary_ramp
from cli.canary_change import (
    Steering,
    changes_of,
    follow_plan,
    going_on,
    holding,
    steering,
    update,
)
from cli.errors import FailedError, UsageError
from kong_plugins.state.base import CanaryOverride


@click.group(name="canary")
def command() -> None:
    """Steer canaries while they run.

    An override stands above the plan that is configured in the plugin canary-router, and reaches every
    plugin server that follows the same Redis within a second. What it does not name keeps the plan's value.

    A canary is known when the files (-f, or ./gateway.yaml) plan it or when it has an override. Changes are made to
    the override as it was read: when somebody else was faster nothing is written, and what they changed is told.
    """


@command.command(name="set")
@click.option("--percent", help="Share of the verified users that sees the canary, 0 to 100.")
@click.option("--users", help="Pinned users in place of the plan's: SUBJECT or ISSUER|SUBJECT, by commas.")
@click.option("--users-list", help="A list of users (kgate list import) in place of the plan's users.")
@click.option("--pause/--resume", "paused", default=None, help="Send everybody to the control group, or not.")
@click.option("--reset", is_flag=True, help="Forget the override: follow the plan again.")
@steering
def set_(
    how: Steering,
    percent: str | None,
    users: str | None,
    users_list: str | None,
    paused: bool | None,
    reset: bool,
) -> None:
    """Override the plan of the canary NAME. With --ttl the whole override ends then.

    \b
    Examples:
      kgate canary set checkout-v2 --percent 10 --reason "first step"
      kgate canary set checkout-v2 --users alice,bob --ttl 2h
      kgate canary set checkout-v2 --percent 20 --if-version 2
      kgate canary set checkout-v2 --reset
      kgate canary set other-v3 --percent 1 --new

    Exit codes: 0 set, 1 Redis is away or somebody else was faster, 2 wrong usage, 4 NAME is not known.
    """
    changes = changes_of(percent, users, users_list, paused)
    if reset and changes:
        raise UsageError("--reset goes with no other change")
    if not reset and not changes:
        raise UsageError(
            "nothing to set: give --percent, --users, --users-list, --pause, --resume or --reset"
        )
    if reset:
        follow_plan(how)
    else:
        # a pause stops the ramp's clock; with a percent there is no ramp
        clock = None if paused is None or percent is not None else holding if paused else going_on
        update(how, changes, "canary.set", clock)


@command.command()
@steering
def pause(how: Steering) -> None:
    """Send everybody to the control group, until it is resumed. The clock of a ramp stands still meanwhile.

    \b
    Examples:
      kgate canary pause checkout-v2 --reason "errors rise"
    """
    update(how, {"paused": True}, "canary.pause", holding)


@command.command()
@steering
def resume(how: Steering) -> None:
    """Go on after a pause, as it was before; a ramp goes on where it stood. An aborted canary must be reset first.

    \b
    Examples:
      kgate canary resume checkout-v2
    """
    update(how, {"paused": False}, "canary.resume", going_on)


@command.command()
@click.option("--from", "low", type=click.FloatRange(0, 100), default=0.0, help="Percent at the start (0).")
@click.option("--to", "high", type=click.FloatRange(0, 100), help="Percent at the end.")
@click.option("--over", help="How long it rises in all: 90s, 15m, 2h, 7d. Holds come on top.")
@click.option("--hold", "holds", multiple=True, help='Stand still at a percent: "10%:30m"; may be repeated.')
@click.option("--start", help="When it starts (ISO 8601); now without it.")
@click.option("--pause", "change", flag_value="pause", help="Stand still at the percent of now.")
@click.option("--resume", "change", flag_value="resume", help="Go on from where it stands.")
@steering
def ramp(
    how: Steering,
    low: float,
    high: float | None,
    over: str | None,
    holds: tuple[str, ...],
    start: str | None,
    change: str | None,
) -> None:
    """Raise the percent of the canary NAME step by step, in place of the plan's percent or ramp.

    The percent is worked out from the start, by each node for itself: nothing has to run for it. Users are only ever
    added. `kgate canary set --percent` ends it.

    \b
    Examples:
      kgate canary ramp checkout-v2 --from 1 --to 50 --over 2h --hold "10%:30m"
      kgate canary ramp checkout-v2 --pause --reason "look at the numbers first"
      kgate canary ramp checkout-v2 --resume

    Exit codes: 0 set, 1 Redis is away or somebody else was faster, 2 wrong usage, 4 NAME is not known.
    """
    given = high is not None or over is not None or bool(holds) or start is not None
    if change is not None:
        if given:
            raise UsageError(f"--{change} goes with no other change of the ramp")
        move = holding if change == "pause" else going_on

        def turn(seen: CanaryOverride | None, planned: bool, now: float) -> Mapping[str, Any]:
            changes = move(seen, planned, now)
            if not changes:
                raise FailedError(f"canary {how.name} has no ramp that could be {change}d")
            return changes

        update(how, {}, f"canary.ramp.{change}", turn)
        return
    if high is None or over is None:
        raise UsageError("a ramp needs --to and --over; or give --pause or --resume")
    wanted = high, over

    def begin(_seen: object, _planned: bool, now: float) -> dict[str, object]:
        return {"ramp": canary_ramp.ramp_data(low, *wanted, holds, start, now)}

    canary_ramp.ramp_data(low, *wanted, holds, start, 0.0)  # what is wrong is said before Redis is asked
    update(how, {"percent": None}, "canary.ramp", begin)


@command.command()
@steering
def abort(how: Steering) -> None:
    """Give the canary up: everybody to the control group, until `kgate canary set NAME --reset`.

    \b
    Examples:
      kgate canary abort checkout-v2 --reason "wrong prices"
    """
    update(how, {"aborted": True, "ramp": None}, "canary.abort")


for _reading in (canary_commands.list_, canary_commands.show, canary_commands.promote, canary_commands.why):
    command.add_command(_reading)
