"""Which arm of a canary a user gets: the real filter on the live state, and the rule in words."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from cli.canary_plans import CANARY, Plans
from cli.errors import FailedError, UsageError
from cli.rules import canary_rule
from cli.token_text import claims_of
from kong_plugins.canary_router import core
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.registry import parse_config
from kong_plugins.identity.trust import Trust
from kong_plugins.state.base import State, Store
from kong_plugins.state.operations import live


class Answer(NamedTuple):
    """arm: NAME=canary, NAME=control, NAME=RULE, or NAME=denied. rule: the filter's id of the rule. why: the
    rule in words. place: of the plan in the files. bucket: the user's place among 10,000, None without a user."""

    arm: str
    rule: str
    why: str
    upstream: str
    place: str
    bucket: int | None


def identity(user: str | None, issuer: str, token: str | None) -> Identity | None:
    """Who is asked about, believed as said. Raises UsageError."""
    if user is not None and token is not None:
        raise UsageError("give --user or --token, not both")
    if token is not None:
        claims = claims_of(token)
        if not isinstance(claims.get("iss"), str) or not isinstance(claims.get("sub"), str):
            raise UsageError("--token: it names no issuer (iss) and subject (sub)")
        return Identity(claims["iss"], claims["sub"], claims=claims)
    if user is None:
        if issuer:
            raise UsageError("--issuer goes with --user")
        return None
    before, bar, subject = user.partition("|")
    if bar and not issuer:
        return Identity(before, subject)
    return Identity(issuer, user)


def answers(
    store: Store, namespace: str, plans: Plans, name: str, who: Identity | None, ip: str
) -> list[Answer]:
    """The filter's answer for each plan of the canary. Raises StoreError."""
    snapshot, now = live.snapshot(store, namespace), store.now()
    state = State(snapshot, Trust.empty())
    facts = Facts("why", ip, "https", "GET", "", "/", "/", "", "", "", "", frozenset(), {}, who)
    found = []
    for plugin in plans.by_name[name]:
        try:
            config: Any = parse_config(CANARY, plugin.config)
        except ValueError as error:
            raise FailedError(f"{plans.project.sources.place(plugin.path)}: {error}") from error
        # without its cookie nobody knows what a device gets
        asked = dataclasses.replace(config, device_cookie="") if who is None else config
        verdict = core.decide(facts, asked, state, now)
        said, place = canary_rule(verdict.reason, facts, config, snapshot, now)
        found.append(
            Answer(
                verdict.arm or f"{name}=denied",
                verdict.reason,
                said,
                verdict.upstream,
                str(plans.project.sources.place(plugin.path)),
                place,
            )
        )
    return found
