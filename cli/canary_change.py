"""Changing a canary's override: on the version that was read, by somebody who knows the canary's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click

from cli.canary_plans import Plans, read_plans, unknown
from cli.canary_race import lost
from cli.errors import FailedError, FindingsError, UsageError
from cli.operate import Notes, StoreAt, change_options, opened, store_options
from cli.options import file_option
from cli.report import state as report
from kong_plugins.state import ramps
from kong_plugins.state.base import CanaryOverride, Conflict, Store
from kong_plugins.state.canaries import check_canary_name
from kong_plugins.state.operations import canaries, lists


class Steering(NamedTuple):
    """What all commands that change an override are given."""

    ctx: click.Context
    files: tuple[Path, ...]
    name: str
    if_version: int | None
    new: bool
    notes: Notes
    at: StoreAt
    output: str


def steering(command: Callable[..., None]) -> Callable[..., None]:
    """The argument NAME and the options of a changing command, which gets them as its `how`."""

    @wraps(command)
    @click.pass_context
    def with_how(ctx: click.Context, /, **given: Any) -> None:
        own = {field: given.pop(field) for field in Steering._fields if field != "ctx"}
        command(Steering(ctx, **own), **given)

    if_version = click.option(
        "--if-version", type=int, help="Only if the override is at this version; 0: there is none."
    )
    new = click.option(
        "--new", is_flag=True, help="The name need not be known: no file is at hand to check it."
    )
    named = click.argument("name")
    return named(if_version(new(file_option(change_options(store_options(with_how))))))


Clock = Callable[[CanaryOverride | None, bool, float], Mapping[str, Any]]
"""What a change does to the ramp: the override as it was read, whether the plan may have a ramp, the store's time."""


def update(how: Steering, changes: dict[str, Any], kind: str, clock: Clock | None = None) -> None:
    """Change the override as it was read. Whoever was faster is named. clock: further changes."""
    name, notes = check_name(how.name), how.notes
    with opened(how.at) as store:
        seen = canaries.get(store, name)
        if seen is None and not how.new:
            _must_be_planned(name, read_plans(how.ctx, how.files))
        if seen is not None and seen.aborted and not changes.get("aborted"):
            raise FindingsError(f"canary {name} is aborted: kgate canary set {name} --reset, then go on")
        named = changes.get("users_list")
        if named is not None:
            _must_be_users(store, named)
        if clock is not None:
            changes = {**changes, **clock(seen, _may_have_ramp(how), store.now())}
        version = _version(how, seen)
        lasting = notes.lasting(store)
        if notes.ttl is None and seen is not None and seen.expires is not None:
            # a change must not make an override endless that somebody gave an end
            lasting["ttl"] = max(seen.expires - store.now(), 0.001)
        try:
            stored = canaries.update(store, name, changes, kind=kind, if_version=version, **lasting)
        except Conflict as error:
            raise FailedError(lost(store, name, version, error)) from error
    click.echo(report.dump(report.record(stored)) if how.output == "json" else report.canary(stored))


def follow_plan(how: Steering) -> None:
    """Forget the override."""
    name = check_name(how.name)
    with opened(how.at) as store:
        version = _version(how, canaries.get(store, name))
        try:
            gone = canaries.reset(store, name, if_version=version, **how.notes.said())
        except Conflict as error:
            raise FailedError(lost(store, name, version, error)) from error
    if how.output == "json":
        click.echo(report.dump({**report.record(gone), "removed": True}))
    else:
        click.echo(f"{name}: follows its plan again")


def holding(seen: CanaryOverride | None, planned: bool, now: float) -> dict[str, Any]:
    """Stops the ramp's clock, where there may be one."""
    data = None if seen is None else seen.ramp
    return {"ramp": ramps.held(data, now)} if planned or data is not None else {}


def going_on(seen: CanaryOverride | None, planned: bool, now: float) -> dict[str, Any]:
    """Lets the ramp's clock go on where it stood."""
    data = None if seen is None else seen.ramp
    return {} if data is None else {"ramp": ramps.resumed(data, now)}


def _may_have_ramp(how: Steering) -> bool:
    """Whether the plan has a ramp; where no file is at hand it may."""
    plans = read_plans(how.ctx, how.files)
    return plans is None or any(plugin.config.get("ramp") for plugin in plans.by_name.get(how.name, ()))


def check_name(name: str) -> str:
    """The name itself. Raises UsageError for what is no canary's name."""
    try:
        return check_canary_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _version(how: Steering, seen: CanaryOverride | None) -> int:
    if how.if_version is not None:
        return how.if_version
    return 0 if seen is None else seen.version


def _must_be_planned(name: str, plans: Plans | None) -> None:
    if plans is None or name not in plans.by_name:
        raise unknown(name, plans, ", or give --new")


def _must_be_users(store: Store, name: str) -> None:
    kind = next((one.kind for one in lists.entries(store) if one.name == name), None)
    if kind != "users":
        what = "there is no such list" if kind is None else f"it holds {kind}"
        raise FindingsError(f"--users-list {name!r}: {what}; see kgate list show")


def changes_of(
    percent: str | None, users: str | None, users_list: str | None, paused: bool | None
) -> dict[str, Any]:
    """The fields that the options change. Raises UsageError."""
    changes: dict[str, Any] = {}
    if users is not None and users_list is not None:
        raise UsageError("give --users or --users-list, not both")
    if users_list is not None:
        changes |= {"users": None, "users_list": users_list}
    if percent is not None:
        # a percent is the operator's word: it ends a ramp
        changes |= {"percent": _percent(percent), "ramp": None}
    if users is not None:
        changes["users"] = frozenset(user.strip() for user in users.split(",") if user.strip())
        changes["users_list"] = None
    if paused is not None:
        changes["paused"] = paused
    return changes


def _percent(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:
        raise UsageError(f"--percent {text!r}: write a number from 0 to 100")
    return percent
