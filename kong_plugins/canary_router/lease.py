"""For how long canary-router's decision stands for requests that are alike."""

from __future__ import annotations

from kong_plugins.canary_router.config import Config
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import NONE, UNBOUNDED, Lease
from kong_plugins.state.base import State


def lease(_facts: Facts, config: Config, state: State, _now: float) -> Lease:
    """Without bound where a percentage of the users alone decides; none with rules, a ramp or an operator's word."""
    is_plain = config.percent_alone and config.name not in state.snapshot.canaries
    return UNBOUNDED if is_plain else NONE
