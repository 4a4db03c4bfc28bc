"""static-fallback: name the prepared answers of the route. The adapter gives one at a failure; here one is given
at once while an operator forces it, or the breaker is open."""

from __future__ import annotations

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.static_fallback import switch
from kong_plugins.static_fallback.choice import choose, give
from kong_plugins.static_fallback.config import Config

_NO_ANSWER = Verdict(
    status=503,
    headers=(("Cache-Control", "no-store"), ("Retry-After", "5")),
)


def decide(facts: Facts, config: Config, state: State, now: float) -> Verdict:
    """An exit with reason `fallback_forced` or `fallback_open`, else the verdict that names the prepared answers.

    A forced fallback with the name of no answer of this route gives the route's own choice. An operator's word on the
    breaker stands above what it counted.
    """
    snapshot = state.snapshot
    forced = snapshot.fallbacks.forced(facts.tenant, facts.service, facts.route, now)
    if forced is not None:
        return _exit(facts, config, "forced", now, 0.0, forced.name)
    held = snapshot.breakers.forced(facts.service, facts.route, now, facts.tenant)
    if held == "open":
        return _exit(facts, config, "open", now)
    watch, cells = config.watch, state.cells
    if watch is None or cells is None:
        return config.verdict  # the same for every request of the config: it was made when parsing
    verdict = config.verdict
    now_ns = int(now * switch.NS)
    if watch.breaker is not None and held is None:
        key = switch.breaker_flag(watch.id, facts.service if watch.breaker.per == "service" else facts.route)
        shown = switch.look(cells, key, now_ns)
        if shown.state == switch.OPEN:
            return _exit(facts, config, "open", now, shown.at / 1000 - now)
        if shown.state == switch.HALF_OPEN:
            breaker = watch.breaker
            lease = int(breaker.lease_seconds * switch.NS)
            permit = switch.take(cells, key, shown.at, breaker.permits, lease, now_ns)
            if permit is None:
                return _exit(facts, config, "open", now)
            # the lease comes back with the outcome: whoever gets it can give the permit back
            memo = f"{verdict.memo}:{shown.at}:{permit.number}:{permit.lease_end}"
            return verdict._replace(memo=memo)
    if watch.budget and _is_used_up(cells, watch.id, facts.service, now_ns):
        return verdict._replace(retries=0)
    return verdict


def _is_used_up(cells: Cells, watch_id: str, service: str, now_ns: int) -> bool:
    return switch.flags_of(cells).get(switch.budget_flag(watch_id, service), now_ns) != 0


def _exit(
    facts: Facts, config: Config, why: str, now: float, left: float = 0.0, name: str | None = None
) -> Verdict:
    answer = choose(config.plan.answers, why, facts, name)
    if answer is None:
        return _NO_ANSWER._replace(reason=f"fallback_{why}")
    return give(answer, why, facts, now, left)
