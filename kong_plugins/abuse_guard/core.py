"""abuse-guard: refuse whom we do not want to serve, before and after we know who it is.

    allowed by the config > allowed by an operator > blocked by an operator > denied by the config
    > limits > what scenarios found > pass

An operator's allow (`kgate allow`) lifts operators', imported and automatic blocks, limits and marks, not what the
config itself denies.
"""

from __future__ import annotations

from kong_plugins.abuse_guard import limits, score, trace
from kong_plugins.abuse_guard.config import Config
from kong_plugins.abuse_guard.limit_keys import counted as counted_address
from kong_plugins.abuse_guard.limits import IDENTIFIED_ASK, STRANGER_ASK
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import parse_address
from kong_plugins.state.base import Snapshot, State


def decide_stranger(facts: Facts, config: Config, state: State, now: float) -> Verdict | Ask | None:
    """Judge what a stranger shows: the address, the path and the User-Agent.

    403 `ip_blocked` and `agent_blocked` for a block of the control state, `ip_denied` for the config's own
    addresses and lists. An address that cannot be read is refused (`ip_unreadable`): no rule could be matched
    against it. 429 `rate_limited` for a limit, `scenario_limited` for one that a scenario set.
    """
    try:
        counted = counted_address(facts.ip)
    except ValueError:
        return problem(403, "ip_unreadable", "The client's address cannot be read.", facts.request_id)
    snapshot = state.snapshot
    if config.has_allow and _is_allowed(facts.ip, config, snapshot, now):
        return None
    is_allowed: bool | None = None
    if config.blocks:
        refused = _blocked(facts, snapshot, now)
        if refused:
            is_allowed = snapshot.allows.holds(facts.ip, now)
            if not is_allowed:
                detail = "This address is blocked." if refused == "ip_blocked" else "This client is blocked."
                return problem(403, refused, detail, facts.request_id)
    if config.has_deny and (
        parse_address(facts.ip) in config.deny or _address_in(config.deny_lists, facts.ip, snapshot, now)
    ):
        return problem(403, "ip_denied", "This address may not use this service.", facts.request_id)
    if config.is_plain and not snapshot.marks:
        return None
    if is_allowed is None:
        is_allowed = config.blocks and snapshot.allows.holds(facts.ip, now)
    return None if is_allowed else _watched(facts, config, state, now, counted)


def _watched(facts: Facts, config: Config, state: State, now: float, counted: str) -> Verdict | Ask | None:
    word = trace.of_stranger(config.scenarios, facts) if config.scenarios is not None else ""
    found: Verdict | None = None
    if config.has_stranger_limits:
        checked = limits.check(config.stranger, STRANGER_ASK, facts, counted, state, now, config.headers)
        if isinstance(checked, Ask):
            return checked
        found = checked
    if (found is None or found.status is None) and config.blocks and state.snapshot.marks:
        marks = score.of_address(facts, state.snapshot, now)
        marked = score.verdict_of(marks, (), facts, state, now, _counts(state, STRANGER_ASK))
        if marked is not None:
            found = score.together(found, marked)
    return _traced(found, word)


def decide_identified(facts: Facts, config: Config, state: State, now: float) -> Verdict | Ask | None:
    """Judge what we know once a token is verified: the user and the token.

    403 `user_blocked` and `token_blocked` for a block of the control state, `user_denied` for the config's own
    lists; 429 as for strangers. Allowed addresses do not lift a user's block. Only verified identity counts here:
    nothing that a client can make up.
    """
    identity = facts.identity
    if identity is None:
        return None
    snapshot = state.snapshot
    if config.allow_lists and _user_in(config.allow_lists, identity, snapshot, now):
        return None
    is_allowed: bool | None = None
    if config.blocks:
        refused = _identity_blocked(identity, snapshot, now)
        if refused:
            is_allowed = snapshot.allows.match_user(identity.issuer, identity.subject, now) is not None
            if not is_allowed:
                detail = "This user is blocked." if refused == "user_blocked" else "This token is blocked."
                return problem(403, refused, detail, facts.request_id)
    if config.deny_lists and _user_in(config.deny_lists, identity, snapshot, now):
        return problem(403, "user_denied", "This user may not use this service.", facts.request_id)
    if config.is_plain and not snapshot.marks:
        return None
    if is_allowed is None:
        is_allowed = (
            config.blocks and snapshot.allows.match_user(identity.issuer, identity.subject, now) is not None
        )
    return None if is_allowed else _watched_user(facts, config, state, now)


def _watched_user(facts: Facts, config: Config, state: State, now: float) -> Verdict | Ask | None:
    word = trace.of_identified(config.scenarios, facts) if config.scenarios is not None else ""
    found: Verdict | None = None
    if config.has_identified_limits:
        try:
            counted = counted_address(facts.ip)
        except ValueError:  # decide_stranger refuses it
            counted = ""
        checked = limits.check(config.identified, IDENTIFIED_ASK, facts, counted, state, now, config.headers)
        if isinstance(checked, Ask):
            return checked
        found = checked
    if (found is None or found.status is None) and config.blocks and state.snapshot.marks:
        marked = _marked_user(facts, config, state, now)
        if marked is not None:
            found = score.together(found, marked)
    return _traced(found, word)


def _marked_user(facts: Facts, config: Config, state: State, now: float) -> Verdict | None:
    if facts.identity is None:
        return None
    snapshot = state.snapshot
    marks = score.of_user(facts.identity, snapshot, now)
    if not marks:
        return None
    # told again, because the last one's header is what the service sees
    beside = score.of_address(facts, snapshot, now)
    if beside and (
        (config.has_allow and _is_allowed(facts.ip, config, snapshot, now))
        or snapshot.allows.holds(facts.ip, now)
    ):
        beside = ()
    return score.verdict_of(marks, beside, facts, state, now, _counts(state, IDENTIFIED_ASK))


def _traced(found: Verdict | None, word: str) -> Verdict | None:
    """With what the scenarios must know of the request in the memo."""
    if not word:
        return found
    if found is None:
        return Verdict(memo=word)
    if found.status is None:
        # written out: every request comes here, and _replace takes three times as long
        memo = f"{word} {found.memo}" if found.memo else word
        return Verdict(None, "", found.headers, found.service_headers, "", "", memo, found.reason)
    return found._replace(memo=f"{word} {found.memo}" if found.memo else word)


def _counts(state: State, ask: str) -> bool:
    """Whether this run of the chain counts in a pass: the second one does where that pass asked (limits.py)."""
    return not state.answers or ask in state.answers


def _blocked(facts: Facts, snapshot: Snapshot, now: float) -> str:
    if snapshot.blocks.holds(facts.ip, now):
        return "ip_blocked"
    agent = facts.headers.get("user-agent")
    if agent and snapshot.blocks.match_agent(agent, now) is not None:
        return "agent_blocked"
    return ""


def _identity_blocked(identity: Identity, snapshot: Snapshot, now: float) -> str:
    blocks = snapshot.blocks
    # what a scenario blocks it may know by its hash alone
    if blocks.has_kind("user"):
        hashed = trace.hash_of_user(identity)
        if blocks.match_user(identity.issuer, identity.subject, now) is not None or (
            hashed and blocks.match_user("", hashed, now) is not None
        ):
            return "user_blocked"
    if blocks.has_kind("token"):
        for token_id in (identity.token_id, trace.hash_of_token(identity)):
            if token_id and blocks.match_token(identity.issuer, token_id, now) is not None:
                return "token_blocked"
    return ""


def _is_allowed(ip: str, config: Config, snapshot: Snapshot, now: float) -> bool:
    return parse_address(ip) in config.allow or _address_in(config.allow_lists, ip, snapshot, now)


def _address_in(names: tuple[str, ...], ip: str, snapshot: Snapshot, now: float) -> bool:
    found = (snapshot.lists.get(name) for name in names)
    return any(each is not None and each.has_address(ip, now) for each in found)


def _user_in(names: tuple[str, ...], identity: Identity, snapshot: Snapshot, now: float) -> bool:
    found = (snapshot.lists.get(name) for name in names)
    return any(each is not None and each.has_user(identity.issuer, identity.subject, now) for each in found)
