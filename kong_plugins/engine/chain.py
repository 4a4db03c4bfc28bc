"""The chain: the gate plugins' filters in their order of decision.

    abuse-guard   what a stranger shows: address, path, user agent
    passport      who it is
    abuse-guard   what we know of who it is
    canary-router which backend
    passport      with a canary: the passport is issued here, because it says which arm was chosen
    static-fallback  what to answer when the backend cannot

A filter is a pure function `(facts, config, state, now) -> Verdict | Ask | None`. The first that answers the
client ends the chain; effects add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kong_plugins.abuse_guard import core as abuse_guard
from kong_plugins.abuse_guard import lease as abuse_guard_lease
from kong_plugins.canary_router import core as canary_router
from kong_plugins.canary_router import lease as canary_router_lease
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lasting import join
from kong_plugins.engine.lease import NONE, Lease, together
from kong_plugins.engine.verdict import Verdict, join_memos
from kong_plugins.passport import core as passport
from kong_plugins.passport import lease as passport_lease
from kong_plugins.state.base import State
from kong_plugins.static_fallback import core as static_fallback
from kong_plugins.static_fallback import lease as static_fallback_lease

Filter = Callable[[Facts, Any, State, float], Verdict | Ask | None]


class Step(NamedTuple):
    """One place in the order: which plugin's config it takes and the filter."""

    plugin: str
    decide: Filter


ORDER: tuple[Step, ...] = (
    Step("abuse-guard", abuse_guard.decide_stranger),
    Step("passport", passport.decide),
    Step("abuse-guard", abuse_guard.decide_identified),
    Step("canary-router", canary_router.decide),
    Step("static-fallback", static_fallback.decide),
)

WITH_CANARY: tuple[Step, ...] = (
    Step("abuse-guard", abuse_guard.decide_stranger),
    Step("passport", passport.identify),
    Step("abuse-guard", abuse_guard.decide_identified),
    Step("canary-router", canary_router.decide),
    Step("passport", passport.issue),
    Step("static-fallback", static_fallback.decide),
)

LEASES: Mapping[str, Callable[[Facts, Any, State, float], Lease]] = {
    "abuse-guard": abuse_guard_lease.lease,
    "passport": passport_lease.lease,
    "canary-router": canary_router_lease.lease,
    "static-fallback": static_fallback_lease.lease,
}
"""By plugin, in place of asking its filters again."""

Chain = tuple[tuple[Filter, Any, str], ...]
"""The steps of one route in order: the filter, its plugin's parsed config, the plugin's name."""


def build(configs: Mapping[str, Any]) -> Chain:
    """The chain of a route from its gate plugins' parsed configs, by plugin name."""
    order = WITH_CANARY if "canary-router" in configs else ORDER
    return tuple((step.decide, configs[step.plugin], step.plugin) for step in order if step.plugin in configs)


def _exit(found: Verdict, plugin: str, effects: list[Verdict]) -> Verdict:
    """An answer to the client. Of the filters before it only the memos count: what is told of the request later."""
    memos = [one.memo for one in (*effects, found) if one.memo]
    return found._replace(plugin=plugin, memo=join_memos(memos))


class Pending(NamedTuple):
    """What must be answered before there is a verdict. exit: the answer to the client that the filter at place `step`
    of the chain gave meanwhile; it holds in the run with the answers, where that filter is not asked again."""

    asks: tuple[Ask, ...]
    step: int = -1
    exit: Verdict | None = None


NOTHING_BEFORE = Pending(())


def run(
    facts: Facts, chain: Chain, state: State, now: float, before: Pending = NOTHING_BEFORE
) -> Verdict | Pending:
    """Run the chain: a verdict, or the asks that must be answered first.

    now is Unix time in seconds. An unanswered ask counts as "goes on" only while the asks are being
    collected: the shell answers them and runs the chain again, with what this run returned as `before`.
    """
    effects: list[Verdict] = []
    asks: list[Ask] = []
    step, known = -1, before.step
    for decide, config, plugin in chain:
        step += 1
        if asks and decide is static_fallback.decide:
            break  # it may take a breaker's trial, and that only once: the chain runs again with the answers
        found = decide(facts, config, state, now) if step != known else before.exit
        if found is None:
            continue
        if isinstance(found, Ask):
            asks.append(found)
            if found.identity is not None and facts.identity is None:
                facts = facts.of(found.identity)
        elif found.status is not None:
            # what is asked about a user alone need not be known to refuse him
            if all(ask.identity is not None for ask in asks):
                return _exit(found, plugin, effects)
            return Pending(tuple(asks), step, found)
        else:
            if found.identity is not None and facts.identity is None:
                facts = facts.of(found.identity)
                if not found.service_headers:
                    continue  # passport.identify: the passport comes later, and says it again
            effects.append(found)
            if found.arm:
                facts = facts.on(found.arm)
    return Pending(tuple(asks)) if asks else join(effects)


def lease(facts: Facts, chain: Chain, verdict: Verdict, state: State, now: float) -> Lease:
    """For how long a verdict of `run` on these facts stands for requests that are alike. Those of nobody have none:
    they are the same for all, and nobody comes again so soon. now is Unix time in seconds."""
    if verdict.status is not None or verdict.identity is None:
        return NONE
    facts = facts.of(verdict.identity).on(verdict.arm)
    configs = {plugin: config for _decide, config, plugin in chain}
    if not configs.keys() <= LEASES.keys():
        return NONE
    return together(LEASES[plugin](facts, config, state, now) for plugin, config in configs.items())
