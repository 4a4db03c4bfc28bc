"""kgate events: the audit log of the control state."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import click

from cli.operate import StoreAt, opened, store_options
from cli.report import state as report
from kong_plugins.state.base import Store, StoreAway
from kong_plugins.state.operations import events
from kong_plugins.state.records import Event

_WAIT = 0.4
"""Seconds between two looks whether to end. Shorter than the time in which a store must answer."""

_FILTERS = (
    click.option("--subject", default="", help="Only of things whose name has this in it."),
    click.option("--by", default="", help="Only of this actor."),
    click.option("--kind", default="", help="Only of this kind: block for all of blocks, or block.add."),
)


@click.group(name="events")
def command() -> None:
    """Read the audit log: who changed what and why, and what the gateway decided by itself.

    The log is capped, the oldest events go first.
    """


@command.command(name="list")
@click.option("--count", default=50, show_default=True, help="The newest so many.")
@_FILTERS[0]
@_FILTERS[1]
@_FILTERS[2]
@store_options
def list_(count: int, subject: str, by: str, kind: str, at: StoreAt, output: str) -> None:
    """List the newest events, the oldest of them first.

    \b
    Examples:
      kgate events list
      kgate events list --kind block --by alice --count 10
      kgate events list --kind canary.set --output json
    """
    with opened(at) as store:
        found = events.recent(store, count, kind=kind, actor=by, subject=subject)
    if output == "json":
        click.echo(report.dump([report.record(event) for event in found]))
        return
    for event in found:
        click.echo(report.event(event))
    if not found:
        click.echo("there are no such events")


@command.command()
@click.option("--count", default=10, show_default=True, help="Begin with the newest so many; 0 for none.")
@click.option("--limit", type=click.IntRange(min=1), help="End after so many events.")
@click.option("--seconds", type=click.FloatRange(min=0), help="End after this time.")
@_FILTERS[0]
@_FILTERS[1]
@_FILTERS[2]
@store_options
def tail(
    count: int,
    limit: int | None,
    seconds: float | None,
    subject: str,
    by: str,
    kind: str,
    at: StoreAt,
    output: str,
) -> None:
    """Follow the events until Ctrl-C, also when Redis goes away meanwhile; with --output json one event a line.

    \b
    Examples:
      kgate events tail --seconds 0.5
      kgate events tail --kind block --limit 1
      kgate events tail --count 3 --limit 3 --output json
    """
    left = limit
    end = None if seconds is None else time.monotonic() + seconds

    def tell(found: Iterable[Event]) -> bool:
        """False when it is enough."""
        nonlocal left
        for event in found:
            if events.matches(event, kind, by, subject):
                click.echo(report.dump(report.record(event)) if output == "json" else report.event(event))
                left = None if left is None else left - 1
                if left == 0:
                    return False
        return end is None or time.monotonic() < end

    with opened(at) as store:
        newest = store.events(1)
        first = events.recent(store, count, kind=kind, actor=by, subject=subject) if count else []
        if not tell(first):
            return
        told = {event.id for event in first}  # one may have come between the two look-ups
        for found in _followed(store, newest[0].id if newest else "0-0"):
            if not tell(event for event in found if event.id not in told):
                return


def _followed(store: Store, after_id: str) -> Iterator[list[Event]]:
    """`events.follow`, also over times in which the store is away: it is told once, and nothing is lost that the
    log then still has."""
    away = False
    while True:
        try:
            for found in events.follow(store, after_id, _WAIT):
                if away:
                    click.echo(f"kgate: {store.address}: is back", err=True)
                away = False
                after_id = found[-1].id if found else after_id
                yield found
        except StoreAway as error:
            if not away:
                click.echo(f"kgate: {error}; trying again until Ctrl-C", err=True)
            away = True
            time.sleep(_WAIT)
            yield []
