"""kgate canary: change what a canary's plan says, at once and without a config push."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli import canary_ramp
from cli.canary_change import (
    Steering,
    changes_of,
    check_name,
    follow_plan,
    going_on,
    holding,
    steering,
    update,
)
from cli.canary_plans import read_plans, unknown
from cli.errors import FailedError, UsageError
from cli.operate import Notes, StoreAt, end_options, opened, store_options
from cli.options import file_option
from cli.report import state as report
from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.operations import canaries
from kong_plugins.state.operations import notes as event_notes


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


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the overrides.

    \b
    Examples:
      kgate canary list
      kgate canary list --output json
    """
    with opened(at) as store:
        overrides = canaries.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(override) for override in overrides]))
        return
    for override in overrides:
        about = report.by(override.actor, override.reason)
        click.echo(f"{report.canary(override)}, {report.utc(override.changed)} {about}")
    if not overrides:
        click.echo("no canary is overridden: all follow their plans")


@command.command()
@click.argument("name")
@click.option(
    "--metrics",
    "urls",
    multiple=True,
    envvar="KGATE_METRICS",
    help="A plugin server's metrics, URL or HOST:PORT; may be repeated.",
)
@file_option
@store_options
@click.pass_context
def show(
    ctx: click.Context, name: str, urls: tuple[str, ...], files: tuple[Path, ...], at: StoreAt, output: str
) -> None:
    """Show the override of the canary NAME, and its plan where the files are at hand: the share of now and, with
    --metrics, both arms of the last minute.

    \b
    Examples:
      kgate canary show checkout-v2
      kgate canary show checkout-v2 --metrics 127.0.0.1:9542
      kgate canary show checkout-v2 -f gateway.yaml --output json
    """
    from cli import canary_show

    with opened(at) as store:
        override, now = canaries.get(store, name), store.now()
    plans = read_plans(ctx, files)
    planned = () if plans is None else plans.by_name.get(name, ())
    if override is None and not planned:
        raise unknown(name, plans)
    if output == "json":
        data = {
            "name": name,
            "override": None if override is None else report.record(override),
            "plans": [dict(plugin.config) for plugin in planned],
            "shares": [canary_show.share(plugin.config, override, now) for plugin in planned],
            "differs": canary_show.differs(planned, override, now),
            "arms": canary_show.arms(name, urls) if urls else None,
        }
        click.echo(report.dump(data))
        return
    if override is None:
        click.echo(f"{name}: no override, it follows its plan")
    else:
        about = report.by(override.actor, override.reason)
        click.echo(f"{report.canary(override)}, {report.utc(override.changed)} {about}")
        for user in sorted(override.users or ()):
            click.echo(f"  user {report.printable(user)}")
        if said := canary_ramp.words(override, now):
            click.echo(f"  {said}")
    for plugin in planned:
        assert plans is not None
        config = plugin.config
        pinned = f"{len(config.get('users') or [])} users, {len(config.get('cidrs') or [])} networks"
        place = plans.project.sources.place(plugin.path)
        percent = canary_show.planned_percent(config)
        click.echo(f"plan: {percent}, {pinned}, upstream {config.get('upstream')} ({place})")
        if (share := canary_show.share(config, override, now)) is not None:
            click.echo(f"now: {share:.4g}% of the users")
    for line in canary_show.differs(planned, override, now):
        click.echo(f"differs from the plan: {line}")
    if urls:
        for line in canary_show.lines(canary_show.arms(name, urls)):
            click.echo(line)


@command.command()
@click.argument("name")
@click.option("--write", is_flag=True, help="Write the files; else the change is only shown.")
@file_option
@end_options
@store_options
@click.pass_context
def promote(
    ctx: click.Context,
    name: str,
    write: bool,
    files: tuple[Path, ...],
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Make the override of the canary NAME permanent: put its percent, ramp and users into the files.

    Prints the change as a diff; comments and everything else in the files stay. The override stays too: push the
    files (kgate sync), then forget it (kgate canary set NAME --reset).

    \b
    Examples:
      kgate canary promote checkout-v2
      kgate canary promote checkout-v2 --write --reason "it is good"

    Exit codes: 0 done or shown, 1 there is nothing to promote or a file cannot be written, 2 wrong usage,
    4 NAME is not known, or the override cannot be written as a plan.
    """
    from cli import promote as promoting

    check_name(name)
    with opened(at) as store:
        override = canaries.get(store, name)
        plans = read_plans(ctx, files, must=True)
        assert plans is not None
        if name not in plans.by_name:
            raise unknown(name, plans)
        if override is None:
            raise FailedError(f"canary {name} has no override: there is nothing to promote")
        edits = promoting.edits(override, plans)
        if write and edits:
            promoting.write(edits)
            data = {"files": [edit.file for edit in edits], "version": override.version}
            event_notes.write(store, "canary.promote", name, data=data, **notes.said())
    if output == "json":
        listed = [{"file": edit.file, "diff": edit.diff} for edit in edits]
        click.echo(report.dump({"name": name, "written": bool(write and edits), "files": listed}))
        return
    click.echo("".join(edit.diff for edit in edits), nl=False)
    if not edits:
        click.echo(f"the files say already what the override of {name} says")
    elif write:
        click.echo(f"wrote {', '.join(edit.file for edit in edits)}; next: kgate sync, then "
                   f"kgate canary set {name} --reset", err=True)  # fmt: skip
    else:
        click.echo("nothing was written; add --write to write it", err=True)


@command.command()
@click.argument("name")
@click.option("--user", help="A subject, or ISSUER|SUBJECT.")
@click.option("--issuer", default="", help="The issuer (iss) of --user.")
@click.option("--token", help="A token in place of --user; its signature is not checked here.")
@click.option("--ip", default="", help="The client's address, for canaries with networks.")
@file_option
@store_options
@click.pass_context
def why(
    ctx: click.Context,
    name: str,
    user: str | None,
    issuer: str,
    token: str | None,
    ip: str,
    files: tuple[Path, ...],
    at: StoreAt,
    output: str,
) -> None:
    """Say which arm of the canary NAME a user gets, by the real filter on the live state, and why.

    \b
    Examples:
      kgate canary why checkout-v2 --user alice --issuer https://auth.example.com
      kgate canary why checkout-v2 --ip 198.51.100.7 --output json
    """
    from cli import canary_why

    check_name(name)
    identity = canary_why.identity(user, issuer, token)
    if identity is None and not ip:
        raise UsageError("who? give --user, --token or --ip")
    plans = read_plans(ctx, files, must=True)
    assert plans is not None
    if name not in plans.by_name:
        raise unknown(name, plans)
    with opened(at) as store:
        answers = canary_why.answers(store, at.namespace, plans, name, identity, ip)
    if output == "json":
        click.echo(report.dump({"name": name, "answers": [answer._asdict() for answer in answers]}))
        return
    for answer in answers:
        where = f" ({answer.place})" if len(answers) > 1 else ""
        click.echo(f"{answer.arm}: {answer.why}{where}")
