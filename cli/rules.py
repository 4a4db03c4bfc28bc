"""Rules in words: which entry of the state or the config stands behind a verdict's reason."""

from __future__ import annotations

import json
from typing import Any

from cli.report import state as report
from kong_plugins.abuse_guard import limit_keys, limits
from kong_plugins.canary_router.bucket import BUCKETS, bucket
from kong_plugins.canary_router.core import limit_at
from kong_plugins.canary_router.rules import Rule
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.breakers import BreakerOverride
from kong_plugins.state.scopes import scope_text
from kong_plugins.state.snapshot import Snapshot


def canary_rule(
    reason: str, facts: Facts, config: Any, snapshot: Snapshot, now: float
) -> tuple[str, int | None]:
    """(the rule in words, the user's bucket) of canary-router's verdict."""
    override = snapshot.canaries.get(config.name)
    if override is not None and override.expires is not None and now >= override.expires:
        override = None
    plan = "the plan"
    set_by = users_by = percent_by = plan
    named, limit = config.users_list, limit_at(config, override, now)
    if override is not None:
        set_by = f"override version {override.version} {report.by(override.actor, override.reason)}"
        if override.users is not None or override.users_list is not None:
            users_by, named = set_by, override.users_list or ""
        if override.percent is not None or override.ramp is not None:
            percent_by = set_by
    who = facts.identity
    place = None if who is None else bucket(config.key, who.key)
    share = f"{limit / BUCKETS:.2%} of the users ({percent_by})"
    if config.ramp is not None and percent_by == plan:
        share = f"{limit / BUCKETS:.2%} of the users at this point of the ramp ({percent_by})"
    by_list = f", by itself or in the list {report.printable(named)}" if named else ""
    words = {
        "canary_paused": f"paused: {set_by if override is not None and override.paused else plan}",
        "canary_aborted": f"aborted: {set_by}",
        "canary_user": f"a pinned user{by_list} ({users_by})",
        "canary_cidr": f"address {facts.ip} is in the plan's networks",
        "canary_percent": f"bucket {place} is below {limit}: {share}",
    }
    rule = _rule_of(reason, facts, config, snapshot, now)
    if rule is not None:
        return f"rule {rule.name} of the plan ({reason})", place
    if reason:
        return words.get(reason, f"rule {reason}"), place
    if who is None and config.device_cookie:
        return "no verified user: the device's cookie decides, which is not known here", place
    if who is None:
        return "no verified user, and the address is in none of the plan's networks", place
    return f"not pinned, bucket {place} is not below {limit}: {share}", place


def _rule_of(reason: str, facts: Facts, config: Any, snapshot: Snapshot, now: float) -> Rule | None:
    """The rule of the plan's `rules` that gave this verdict, None when it was something else."""
    holding = (rule for rule in config.rules if rule.holds(facts, snapshot, now, config.key, ""))
    first: Rule | None = next(holding, None)
    if first is None or (reason == "canary_percent" and first.kind != "percent"):
        return None
    denied = first.deny and reason in ("not_found", "canary_denied")
    return first if denied or reason == f"canary_{first.kind}" else None


def state_rule(reason: str, facts: Facts, snapshot: Snapshot, now: float) -> str:
    """What stands in the control state behind an exit's reason, in words; "" when that is not what decided."""
    if reason == "fallback_forced":
        forced = snapshot.fallbacks.forced(facts.tenant, facts.service, facts.route, now)
        if forced is not None:
            about = f"{report.until(forced.expires)}  {report.by(forced.actor, forced.reason)}"
            return f"fallback forced for {forced.scope}:{report.printable(forced.value)}  {about}"
    if reason == "fallback_open":
        return held_breaker(facts, snapshot, now)
    return ""


def held_breaker(facts: Facts, snapshot: Snapshot, now: float) -> str:
    """Which breaker an operator holds for the route, "" for none."""
    held = snapshot.records("breakers")
    scopes = (("route", facts.route), ("service", facts.service), ("tenant", facts.tenant))
    for key in [*(f"{scope} {name}" for scope, name in scopes if name), "*"]:
        one: BreakerOverride | None = held.get(key)
        if one is not None and one.state != "reset" and (one.expires is None or now < one.expires):
            about = f"{report.until(one.expires)}  {report.by(one.actor, one.reason)}"
            return f"breaker of {report.printable(scope_text(key))} held {one.state}  {about}"
    return ""


def detail_of(verdict: Verdict) -> str:
    """The sentence of a problem+json body, "" when there is none."""
    try:
        body = json.loads(verdict.body)
    except ValueError:
        return ""
    return str(body.get("detail", "")) if isinstance(body, dict) else ""


def limit_notes(config: Any, facts: Facts) -> tuple[str, ...]:
    """Which limits of abuse-guard count this request. What they have counted only the nodes know."""
    if config is None:
        return ()
    address = limit_keys.counted(facts.ip)
    keys = [
        key for one in (config.stranger, config.identified) for key in limits.keys_of(one, facts, address)
    ]
    return (f"counted by the limits {', '.join(map(report.printable, keys))}",) if keys else ()
