"""For how long abuse-guard's decision stands for requests that are alike."""

from __future__ import annotations

from kong_plugins.abuse_guard import score
from kong_plugins.abuse_guard.config import Config
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import NONE, UNBOUNDED, Lease
from kong_plugins.state.base import State


def lease(facts: Facts, config: Config, state: State, now: float) -> Lease:
    """None where requests are counted or looked at one by one (limits, scenarios), for whoever has a mark, and for
    whoever is let pass because an operator or a list allows him: that ends by itself. What refuses begins with a new
    control state only. now is Unix time in seconds."""
    snapshot, identity = state.snapshot, facts.identity
    if not config.is_plain or config.allow_lists:
        return NONE
    if snapshot.marks and (
        score.of_address(facts, snapshot, now)
        or (identity is not None and score.of_user(identity, snapshot, now))
    ):
        return NONE
    if config.blocks and snapshot.allows.holds(facts.ip, now):
        return NONE
    user = None if identity is None else (identity.issuer, identity.subject)
    if config.blocks and user is not None and snapshot.allows.match_user(*user, now) is not None:
        return NONE
    return UNBOUNDED
