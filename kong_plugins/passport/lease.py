"""For how long passport's decision stands for requests that are alike."""

from __future__ import annotations

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import NONE, Lease
from kong_plugins.passport import source
from kong_plugins.passport.config import PassportConfig
from kong_plugins.state.base import State

_TRACE = ("header", "traceparent")
"""In which requests that are alike differ."""


def lease(facts: Facts, config: PassportConfig, state: State, now: float) -> Lease:
    """As long as the token is believed without another look and its passport is handed out again. None without a
    user, and none with issuers of the route's own. now is Unix time in seconds."""
    identity = facts.identity
    if identity is None or config.inline_issuers or _TRACE in (*config.places, config.device_place):
        return NONE
    device = source.device_of(facts, identity, config.device_place) if config.device_place else ""
    return Lease(state.trust.stands_for(identity, facts, config, config.issuers, now, device))
