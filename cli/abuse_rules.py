"""abuse-guard's reasons in words: which block, entry, list or mark stands behind a verdict."""

from __future__ import annotations

from collections.abc import Iterable

from cli.report import state as report
from kong_plugins.abuse_guard.config import Config
from kong_plugins.abuse_guard.groups import place_of
from kong_plugins.abuse_guard.score import HEADER
from kong_plugins.abuse_guard.trace import hash_of_token, hash_of_user
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.addresses import parse_address
from kong_plugins.state.base import Block
from kong_plugins.state.marks import Mark
from kong_plugins.state.named_lists import NamedList
from kong_plugins.state.snapshot import Snapshot


def exit_rule(reason: str, facts: Facts, config: Config, snapshot: Snapshot, now: float) -> str:
    """What stands behind an answer to the client, "" when its own words say it."""
    if reason == "ip_denied":
        if parse_address(facts.ip) in config.deny:
            return f"address {facts.ip} is in the config's deny"
        lists = _named(config.deny_lists, snapshot)
        return _listed(name for name, held in lists if held.has_address(facts.ip, now))
    if reason == "user_denied" and facts.identity is not None:
        who, lists = facts.identity, _named(config.deny_lists, snapshot)
        return _listed(name for name, held in lists if held.has_user(who.issuer, who.subject, now))
    if reason == "scenario_limited":
        return ", ".join(_mark(mark) for mark in _marks(facts, snapshot, now) if mark.limit)
    found = _block(reason, facts, snapshot, now)
    return "" if found is None else f"block {report.block(found)}"


def effects(said: Verdict, facts: Facts, snapshot: Snapshot, now: float) -> list[str]:
    """What abuse-guard adds to a request that goes on."""
    words = []
    if any(name == "RateLimit" for name, _ in said.headers):
        words.append("no limit is known to refuse it")
    if said.reason == "rate_limit_dry_run":
        words.append("a limit with dry_run would refuse it")
    if any(name == HEADER for name, _ in said.service_headers):
        words += [_mark(mark) for mark in _marks(facts, snapshot, now)]
    return words


def _named(names: Iterable[str], snapshot: Snapshot) -> list[tuple[str, NamedList]]:
    return [(name, snapshot.lists[name]) for name in names if name in snapshot.lists]


def _listed(names: Iterable[str]) -> str:
    found = ", ".join(map(report.printable, names))
    return f"in the list {found} of the config's deny_lists" if found else ""


def _marks(facts: Facts, snapshot: Snapshot, now: float) -> list[Mark]:
    place = place_of(facts.ip)
    keys = [] if place is None else [place.key, place.network]
    if facts.identity is not None:
        keys = [f"user {hash_of_user(facts.identity) or facts.identity.key}"]
    found = (snapshot.marks.live(key, now) for key in keys)
    return [mark for mark in found if mark is not None]


def _mark(mark: Mark) -> str:
    pace = f", {mark.limit:g} requests a second" if mark.limit else ""
    why = ", ".join(mark.reasons)
    return (
        f"{report.printable(mark.key)} is marked by {report.printable(why)}: score {mark.score}{pace}, "
        f"{report.until(mark.expires)}"
    )


def _block(reason: str, facts: Facts, snapshot: Snapshot, now: float) -> Block | None:
    who, blocks = facts.identity, snapshot.blocks
    if reason == "ip_blocked":
        return blocks.match(facts.ip, now)
    if reason == "agent_blocked":
        return blocks.match_agent(facts.headers.get("user-agent", ""), now)
    if who is not None and reason == "user_blocked":
        return blocks.match_user(who.issuer, who.subject, now) or blocks.match_user(
            "", hash_of_user(who), now
        )
    if who is not None and reason == "token_blocked":
        tokens = (token for token in (who.token_id, hash_of_token(who)) if token)
        return next(filter(None, (blocks.match_token(who.issuer, token, now) for token in tokens)), None)
    return None
