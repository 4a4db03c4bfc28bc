"""abuse-guard: config and decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.core import decide_identified, decide_stranger
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.state.base import Block, State
from kong_plugins.state.snapshot import build

NOW = 1000.0
ANYONE: dict[str, Any] = {}


def facts(ip: str, identity: Identity | None = None) -> Facts:
    return Facts("req-1", ip, "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {}, identity)


def state(*blocks: Block) -> State:
    return State(build(1, blocks, ()), trust=None)  # type: ignore[arg-type]


def block(value: str, expires: float | None = None) -> Block:
    return Block("cidr" if "/" in value else "ip", value, "secret note", "kim", 0.0, expires)


@pytest.mark.parametrize(
    ("ip", "config", "blocks", "reason"),
    [
        ("203.0.113.7", ANYONE, [], ""),
        ("203.0.113.7", ANYONE, ["203.0.113.7"], "ip_blocked"),
        ("::ffff:203.0.113.7", ANYONE, ["203.0.113.7"], "ip_blocked"),
        ("203.0.113.7", ANYONE, ["203.0.113.0/24"], "ip_blocked"),
        ("203.0.114.7", ANYONE, ["203.0.113.0/24"], ""),
        ("2001:db8::1%eth0", ANYONE, ["2001:db8::/32"], "ip_blocked"),
        ("203.0.113.7", {"blocks": False}, ["203.0.113.7"], ""),
        ("203.0.113.7", {"deny": ["203.0.113.7"]}, [], "ip_denied"),
        ("203.0.113.7", {"deny": ["::ffff:203.0.113.0/120"]}, [], "ip_denied"),
        ("203.0.113.7", {"deny": ["203.0.113.0/24"]}, ["203.0.113.7"], "ip_blocked"),
        ("203.0.113.7", {"deny": ["203.0.113.0/24"], "blocks": False}, ["203.0.113.7"], "ip_denied"),
        ("203.0.113.7", {"deny": ["203.0.113.0/24"], "allow": ["203.0.113.7"]}, [], ""),
        ("203.0.113.7", {"allow": ["203.0.113.0/24"]}, ["203.0.113.7"], ""),
        ("203.0.113.7", {"allow": ["203.0.113.8"]}, ["203.0.113.7"], "ip_blocked"),
        ("203.0.113.7", {"deny": ["0.0.0.0/0"]}, [], "ip_denied"),
        ("unix:", ANYONE, [], "ip_unreadable"),
        ("", {"allow": ["0.0.0.0/0", "::/0"]}, [], "ip_unreadable"),
        ("1.2.3.4\udcff", {"fail": "open"}, [], "ip_unreadable"),
    ],
)
def test_strangers(ip: str, config: dict[str, Any], blocks: Sequence[str], reason: str) -> None:
    verdict = decide_stranger(facts(ip), parse(config), state(*map(block, blocks)), NOW)
    if not reason:
        assert verdict is None
    else:
        assert verdict is not None
        assert (verdict.status, verdict.reason) == (403, reason)


def test_the_answer_is_a_problem_that_says_nothing_secret() -> None:
    verdict = decide_stranger(facts("10.0.0.1"), parse({}), state(block("10.0.0.1")), NOW)
    assert verdict is not None
    assert ("Content-Type", "application/problem+json") in verdict.headers
    body = json.loads(verdict.body)
    assert (body["status"], body["reason"], body["request_id"]) == (403, "ip_blocked", "req-1")
    assert "secret" not in verdict.body
    assert "kim" not in verdict.body


@pytest.mark.parametrize(("now", "is_blocked"), [(99.0, True), (100.0, False)])
def test_blocks_end_by_the_given_time(now: float, is_blocked: bool) -> None:
    verdict = decide_stranger(facts("10.0.0.1"), parse({}), state(block("10.0.0.1", 100.0)), now)
    assert (verdict is not None) == is_blocked


KIM = Identity("https://a", "kim")


@pytest.mark.parametrize(
    ("identity", "value", "config", "reason"),
    [
        (KIM, "kim", ANYONE, "user_blocked"),
        (KIM, "https://a|kim", ANYONE, "user_blocked"),
        (KIM, "https://b|kim", ANYONE, ""),
        (KIM, "kim", {"allow": ["10.0.0.1"]}, "user_blocked"),
        (KIM, "kim", {"blocks": False}, ""),
        (KIM, "lee", ANYONE, ""),
        (None, "kim", ANYONE, ""),
    ],
)
def test_identified_users(identity: Identity | None, value: str, config: dict[str, Any], reason: str) -> None:
    blocks = Block("user", value, "", "", 0.0)
    verdict = decide_identified(facts("10.0.0.1", identity), parse(config), state(blocks), NOW)
    assert (verdict.reason if verdict else "") == reason


@pytest.mark.parametrize("raw", [{}, {"deny": {}, "allow": [], "blocks": None, "fail": None}])
def test_defaults_and_empty_lua_tables(raw: dict[str, Any]) -> None:
    config = parse(raw)
    assert (config.fail, config.blocks, len(config.deny), len(config.allow)) == ("closed", True, 0, 0)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"fail": "maybe"}, r"^fail: 'maybe' is not one of closed, open"),
        ({"deny": "10.0.0.1"}, r"^deny: expected a list"),
        ({"deny": ["10.0.0.1", 7]}, r"^deny\[1\]: expected text"),
        ({"allow": ["10.0.0.1/8"]}, r"^allow\[0\]: .*10.0.0.0/8"),
        ({"blocks": "yes"}, r"^blocks: expected true or false"),
    ],
)
def test_bad_config_names_the_field(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(raw)
