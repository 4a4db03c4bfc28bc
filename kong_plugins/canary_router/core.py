"""canary-router: which backend serves this request.

    paused by an operator > pinned user > address > percent of the verified users > control

Only a verified identity counts; what a client says in a header or cookie has no say. A request without an
identity can see the canary by its address alone.
"""

from __future__ import annotations

from kong_plugins.canary_router.bucket import bucket, threshold
from kong_plugins.canary_router.config import Config
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import parse_address
from kong_plugins.state.base import State


def decide(facts: Facts, config: Config, state: State, now: float) -> Verdict:
    """The arm of the request. An operator's override replaces the plan's users and percent, not its cidrs."""
    users, limit = config.users, config.threshold
    override = state.snapshot.canaries.get(config.name)
    if override is not None:
        if override.paused:
            return config.control_verdicts["canary_paused"]
        if override.users is not None:
            users = override.users
        if override.percent is not None:
            limit = threshold(override.percent)
    identity = facts.identity
    if identity is not None and users and (identity.subject in users or identity.key in users):
        return config.canary_verdicts["canary_user"]
    if len(config.cidrs) and _is_inside(facts.ip, config):
        return config.canary_verdicts["canary_cidr"]
    if identity is not None and limit and bucket(config.key, identity.key) < limit:
        return config.canary_verdicts["canary_percent"]
    return config.control_verdicts[""]


def _is_inside(ip: str, config: Config) -> bool:
    try:
        return parse_address(ip) in config.cidrs
    except ValueError:
        return False
