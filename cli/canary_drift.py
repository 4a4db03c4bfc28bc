"""Where overrides of canaries differ from the plan of the files, for `kgate diff` and `kgate status`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cli.canary_plans import CANARY
from cli.canary_show import differs
from cli.errors import FailedError, UsageError
from cli.operate import StoreAt, opened
from kong_plugins.state.operations import canaries

if TYPE_CHECKING:
    from decl.model import Gateway, Plugin


def overridden(gateway: Gateway | None, redis: str | None) -> dict[str, list[str]]:
    """Canary -> where its override says something else than the files, and since when. Nothing without a Redis; one
    that is away is told on stderr: what was asked for is something else.

    One of a canary that the files do not plan is left to `kgate canary list`: it may be another cluster's.
    """
    if redis is None or gateway is None:
        return {}
    plans: dict[str, dict[object, Plugin]] = {}
    for _, _, plugin in gateway.all_plugins():
        if plugin.name == CANARY:
            plans.setdefault(str(plugin.config.get("name")), {})[plugin.path] = plugin
    if not plans:
        return {}
    at = StoreAt(redis, os.environ.get("KGATE_NAMESPACE") or "default", os.environ.get("REDIS_CA"))
    try:
        with opened(at) as store:
            now = store.now()
            found = {each.name: each for each in canaries.entries(store)}
    except (FailedError, UsageError) as error:
        click.echo(f"kgate: canaries' overrides are not known: {error}", err=True)
        return {}
    said = {name: differs(tuple(plugins.values()), found.get(name), now) for name, plugins in plans.items()}
    return {name: lines for name, lines in sorted(said.items()) if lines}


def lines(found: dict[str, list[str]]) -> list[str]:
    """For people."""
    return [f"canary {name} is overridden: {one}" for name, many in found.items() for one in many]
