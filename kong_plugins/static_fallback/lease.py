"""For how long static-fallback's decision stands for requests that are alike."""

from __future__ import annotations

from functools import partial

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lease import NONE, UNBOUNDED, Condition, Lease
from kong_plugins.state.base import State
from kong_plugins.static_fallback import switch
from kong_plugins.static_fallback.config import Config


def lease(facts: Facts, config: Config, state: State, now: float) -> Lease:
    """As long as the breaker is closed and the retry budget is not used up. None while an operator holds the breaker:
    that ends by itself. now is Unix time in seconds."""
    if state.snapshot.breakers.forced(facts.service, facts.route, now, facts.tenant) is not None:
        return NONE
    watch = config.watch
    if watch is None or state.cells is None:
        return UNBOUNDED
    flags = []
    if watch.breaker is not None:
        per_service = watch.breaker.per == "service"
        flags.append(switch.breaker_flag(watch.id, facts.service if per_service else facts.route))
    if watch.budget:
        flags.append(switch.budget_flag(watch.id, facts.service))
    conditions = tuple(Condition(flag, partial(_is_down, flag)) for flag in flags)
    if not all(condition.holds(state, now) for condition in conditions):
        return NONE
    return UNBOUNDED._replace(conditions=conditions)


def _is_down(flag: str, state: State, now: float) -> bool:
    return state.cells is None or switch.flags_of(state.cells).get(flag, int(now * switch.NS)) == 0
