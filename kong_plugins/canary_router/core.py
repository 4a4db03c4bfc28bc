"""canary-router: which backend serves this request.

    paused or aborted > pinned user > address > the config's rules in their order > percent of the users > control

Only a verified identity counts, and a cookie that the gateway has signed; what a client says in a header or
cookie has a say in those rules alone that allow it (`clients_may_choose`). A paused or aborted canary sends
nobody to another backend, but what is denied stays denied: a switch that opens a staff route would be the wrong
way round.
"""

from __future__ import annotations

from kong_plugins.canary_router import away, device
from kong_plugins.canary_router.bucket import bucket, threshold
from kong_plugins.canary_router.config import Config
from kong_plugins.canary_router.rules import Rule, has_user, is_drawn, is_inside
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.ramps import clock_of, own_ramp, percent_at

_NO_ROUTE = '{\n  "message":"no Route matched with those values",\n  "request_id":"%s"\n}'
"""Kong's own 404 for a route that is not there (3.9.3)."""


def decide(facts: Facts, config: Config, state: State, now: float) -> Verdict:
    """The arm of the request. An operator's override replaces the plan's users (both ways of naming them) and
    percent or ramp, not its cidrs and rules."""
    override = state.snapshot.canaries.get(config.name)
    if override is not None and override.expires is not None and now >= override.expires:
        override = None
    if override is None and config.percent_alone:
        # the common case, on the path of every request
        identity = facts.identity
        if identity is None:
            return config.control_verdicts[""]
        if bucket(config.key, identity.key) < config.threshold:
            return config.drawn_canary
        return config.drawn_control
    stopped = _stopped(config, override)
    if stopped and not config.denies:
        return config.control_verdicts[stopped]
    return _by_rules(facts, config, state, now, override, stopped)


def limit_at(config: Config, override: CanaryOverride | None, now: float) -> int:
    """The buckets that see the canary at `now`: of the operator's ramp, the operator's percent, the plan's
    ramp, or the plan's percent."""
    if override is not None:
        own = own_ramp(override.ramp)
        if own is not None:
            return threshold(percent_at(own.points, clock_of(override.ramp).at(now) - own.start))
        if override.percent is not None:
            return threshold(override.percent)
    ramp = config.ramp
    if ramp is None:
        return config.threshold
    clock = clock_of(None if override is None else override.ramp)
    return threshold(percent_at(ramp.points, clock.at(now) - ramp.start))


def _stopped(config: Config, override: CanaryOverride | None) -> str:
    if override is not None and override.aborted:
        return "canary_aborted"
    if config.paused or (override is not None and override.paused):
        return "canary_paused"
    return ""


def _by_rules(
    facts: Facts,
    config: Config,
    state: State,
    now: float,
    override: CanaryOverride | None,
    stopped: str,
) -> Verdict:
    users, named = config.users, config.users_list
    if override is not None and (override.users is not None or override.users_list is not None):
        users, named = override.users or frozenset(), override.users_list or ""
    who, snapshot = facts.identity, state.snapshot
    name = ""
    marks: Pairs = ()
    if config.device_cookie and who is None:
        keys = state.trust.device_keys(now)
        if keys:
            if "cookie" not in facts.truncated:
                name = device.read(facts.headers.get("cookie", ""), config.device_cookie, keys)
            if not name and not facts.is_preflight:
                name = device.new(facts, keys[0])
                cookie = device.set_cookie(config.device_cookie, name, keys[0], facts.scheme == "https")
                marks = (("Set-Cookie", cookie),)
    verdict: Verdict
    rule: Rule | None = None
    if (users or named) and has_user(users, named, who, snapshot, now):
        verdict = config.canary_verdicts["canary_user"]
    elif len(config.cidrs) and is_inside(facts.ip, config.cidrs):
        verdict = config.canary_verdicts["canary_cidr"]
    else:
        for rule in config.rules:
            if rule.holds(facts, snapshot, now, config.key, name):
                if rule.deny:
                    return _deny(rule, facts)
                verdict = config.by_rule[rule.name]
                own = rule.upstream and rule.upstream != config.upstream
                if own and away.is_away(state.cells, verdict.arm, now):
                    verdict = config.control_verdicts["canary_away"]
                break
        else:
            limit = limit_at(config, override, now)
            if who is None and not name:
                verdict = config.control_verdicts[""]
            elif limit and is_drawn(who, name, config.key, limit):
                verdict = config.drawn_canary
            else:
                verdict = config.drawn_control
    if stopped:
        verdict = config.control_verdicts[stopped]
    return verdict._replace(headers=marks) if marks else verdict


def _deny(rule: Rule, facts: Facts) -> Verdict:
    """A 404 says nothing: to whoever may not see the route it does not exist, and Kong says so in its own words."""
    if rule.deny == 404:
        body = _NO_ROUTE % facts.request_id
        kind = (("Content-Type", "application/json; charset=utf-8"),)
        return Verdict(status=404, body=body, headers=kind, reason="not_found")
    return problem(rule.deny, "canary_denied", "You may not use this.", facts.request_id)
