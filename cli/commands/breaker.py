"""kgate breaker: hold circuit breakers open or closed, or forget what they counted."""

from __future__ import annotations

import click

from cli.operate import Notes, StoreAt, change_options, end_options, opened, store_options
from cli.report import state as report
from kong_plugins.state.breakers import BreakerOverride
from kong_plugins.state.operations import breakers, events


@click.group(name="breaker")
def command() -> None:
    """Hold circuit breakers over what they count.

    SCOPE is tenant:NAME, service:NAME, route:NAME, or '*' for all. The most specific override counts.
    """


@command.command(name="open")
@click.argument("scope")
@change_options
@store_options
def open_(scope: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Hold the breakers of SCOPE open: their service is not asked.

    \b
    Examples:
      kgate breaker open service:checkout --ttl 10m --reason "it restarts"
    """
    _set(scope, "open", notes, at, output)


@command.command()
@click.argument("scope")
@change_options
@store_options
def close(scope: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Hold the breakers of SCOPE closed: requests pass, whatever the outcomes are.

    \b
    Examples:
      kgate breaker close route:menu --ttl 1h --reason "load test"
    """
    _set(scope, "closed", notes, at, output)


@command.command()
@click.argument("scope")
@change_options
@store_options
def reset(scope: str, notes: Notes, at: StoreAt, output: str) -> None:
    """Forget what the breakers of SCOPE counted; ends an override of it too.

    \b
    Examples:
      kgate breaker reset service:checkout
      kgate breaker reset '*' --reason "after the outage"
    """
    _set(scope, "reset", notes, at, output)


@command.command()
@click.argument("scope")
@end_options
@store_options
def clear(scope: str, notes: Notes, at: StoreAt, output: str) -> None:
    """End the override of SCOPE: its breakers go by what they count.

    \b
    Examples:
      kgate breaker clear route:menu
    """
    with opened(at) as store:
        found = breakers.clear(store, scope, **notes.said())
    if output == "json":
        click.echo(report.dump({**report.record(found), "removed": True}))
    else:
        click.echo(f"cleared {_scope(found)}")


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the overrides; the state that a breaker counts by itself is in the plugin servers' metrics.

    \b
    Examples:
      kgate breaker list
      kgate breaker list --output json
    """
    with opened(at) as store:
        found = breakers.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(one) for one in found]))
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo("no breaker is held")


@command.command()
@click.option("--count", default=20, show_default=True, help="The newest so many.")
@click.option("--subject", default="", help="Only of services and routes whose name has this in it.")
@store_options
def show(count: int, subject: str, at: StoreAt, output: str) -> None:
    """Show the changes of breakers, by themselves and by operators, with the numbers that caused them.

    \b
    Examples:
      kgate breaker show
      kgate breaker show --subject checkout --output json
    """
    with opened(at) as store:
        found = events.recent(store, count, kind="breaker", subject=subject)
    if output == "json":
        click.echo(report.dump([report.record(event) for event in found]))
        return
    for event in found:
        data = event.data
        rates = ""
        if "calls" in data:
            rates = f"  {data['failed']} of {data['calls']} failed, {data.get('slow', 0)} slow"
            kinds = ", ".join(f"{count} {kind}" for kind, count in dict(data.get("failures") or {}).items())
            rates += f" ({kinds})" if kinds else ""
            rates += f", open for {data['open_seconds']:g} s" if "open_seconds" in data else ""
        click.echo(report.event(event) + report.printable(rates))
    if not found:
        click.echo("no breaker has changed")


def _set(scope: str, state: str, notes: Notes, at: StoreAt, output: str) -> None:
    with opened(at) as store:
        made = breakers.override(store, scope, state, **notes.lasting(store))
    click.echo(report.dump(report.record(made)) if output == "json" else _line(made))


def _scope(one: BreakerOverride) -> str:
    return one.scope if one.scope == "*" else f"{one.scope}:{report.printable(one.value)}"


def _line(one: BreakerOverride) -> str:
    about = report.by(one.actor, one.reason)
    if one.state == "reset":
        return f"{_scope(one)}  reset at {report.utc(one.changed)}  {about}"
    return f"{_scope(one)}  held {one.state}  {report.until(one.expires)}  {about}"
