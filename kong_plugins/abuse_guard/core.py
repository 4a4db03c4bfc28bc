"""abuse-guard: refuse whom we do not want to serve, before and after we know who it is."""

from __future__ import annotations

from kong_plugins.abuse_guard.config import Config
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import parse_address
from kong_plugins.state.base import State


def decide_stranger(facts: Facts, config: Config, state: State, now: float) -> Verdict | None:
    """Judge what a stranger shows: the address.

    403 `ip_blocked` for a block of the control state, `ip_denied` for the config's own list. An address
    that cannot be read is refused (`ip_unreadable`): no rule could be matched against it.
    """
    try:
        address = parse_address(facts.ip)
    except ValueError:
        return problem(403, "ip_unreadable", "The client's address cannot be read.", facts.request_id)
    if address in config.allow:
        return None
    if config.blocks and state.snapshot.blocks.match(facts.ip, now) is not None:
        return problem(403, "ip_blocked", "This address is blocked.", facts.request_id)
    if address in config.deny:
        return problem(403, "ip_denied", "This address may not use this service.", facts.request_id)
    return None


def decide_identified(facts: Facts, config: Config, state: State, now: float) -> Verdict | None:
    """Judge what we know once a token is verified: blocks of a user, and later limits of a user.

    403 `user_blocked`. The `allow` list is about addresses and does not lift a user's block. Only
    verified identity counts here: nothing that a client can make up.
    """
    if not config.blocks or facts.identity is None:
        return None
    identity = facts.identity
    if state.snapshot.blocks.match_user(identity.issuer, identity.subject, now) is None:
        return None
    return problem(403, "user_blocked", "This user is blocked.", facts.request_id)
