"""canary-router: which backend serves this request.

    paused or aborted by an operator > pinned user > address > percent of the verified users > control

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
    """The arm of the request. An operator's override replaces the plan's users (both ways of naming them) and
    percent, not its cidrs."""
    users, named, limit = config.users, config.users_list, config.threshold
    override = state.snapshot.canaries.get(config.name)
    if override is not None and (override.expires is None or now < override.expires):
        if override.aborted:
            return config.control_verdicts["canary_aborted"]
        if override.paused:
            return config.control_verdicts["canary_paused"]
        if override.users is not None or override.users_list is not None:
            users, named = override.users or frozenset(), override.users_list or ""
        if override.percent is not None:
            limit = threshold(override.percent)
    identity = facts.identity
    if identity is not None and users and (identity.subject in users or identity.key in users):
        return config.canary_verdicts["canary_user"]
    if identity is not None and named:
        found = state.snapshot.lists.get(named)
        if found is not None and found.has_user(identity.issuer, identity.subject, now):
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
