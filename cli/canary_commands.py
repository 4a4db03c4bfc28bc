"""kgate canary list, show, promote, why: what stands above the plans, and how it becomes a plan."""

from __future__ import annotations

from pathlib import Path

import click

from cli import canary_ramp
from cli.canary_change import check_name
from cli.canary_plans import read_plans, unknown
from cli.errors import FailedError, UsageError
from cli.operate import Notes, StoreAt, end_options, opened, store_options
from cli.options import file_option
from cli.report import state as report
from kong_plugins.state.operations import canaries
from kong_plugins.state.operations import notes as event_notes


@click.command(name="list")
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


@click.command()
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


@click.command()
@click.argument("name")
@click.option(
    "--write/--dry-run", default=True, help="Write the files, or only show the change.  [default: --write]"
)
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
      kgate canary promote checkout-v2 --dry-run
      kgate canary promote checkout-v2 --reason "it is good"

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
            fixed = promoting.fixed_ramp(override, plans)
            if fixed is not None:
                left = None if override.expires is None else max(1.0, override.expires - store.now())
                canaries.update(
                    store, name, {"ramp": fixed}, kind="canary.set", ttl=left, if_version=override.version,
                    **notes.said(),
                )  # fmt: skip
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
        click.echo("nothing was written: without --dry-run it is", err=True)


@click.command()
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
