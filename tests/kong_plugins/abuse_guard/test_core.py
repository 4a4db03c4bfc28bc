"""abuse-guard: config and decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from kong_plugins.abuse_guard import trace
from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.core import decide_identified, decide_stranger
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import Block, State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import build, snapshot_of_dump

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
        ({"deny_lists": ["a", "b c"]}, r"^deny_lists\[1\]: 'b c' is not the name of a list"),
        (
            {"deny": ["10.0.0.1"] * 501},
            r"^deny: 501 entries are more than 500: make them a list .* deny_lists$",
        ),
        ({"allow": ["10.0.0.1"] * 501}, r"^allow: 501 entries .* allow_lists$"),
        ({"allow_lists": ["a"] * 17}, r"^allow_lists: 17 lists, 16 are allowed"),
    ],
)
def test_bad_config_names_the_field(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(raw)


LISTS = {"office": ("addresses", ["cidr 203.0.113.0/24"]), "vips": ("users", ["https://a|kim"])}


def held(*records: tuple[str, str]) -> State:
    """A state with these (collection, key), and the lists."""
    found: dict[str, list[Record]] = {"lists": []}
    for collection, key in records:
        found.setdefault(collection, []).append(Record(collection, key, {}))
    bulk = {}
    for number, (name, (kind, rows)) in enumerate(LISTS.items()):
        data = {"kind": kind, "count": len(rows), "bulk": f"{number:032x}"}
        found["lists"].append(Record("lists", name, data))
        bulk[data["bulk"]] = dict.fromkeys(rows, "")
    return State(snapshot_of_dump(StateDump(1, found, bulk)), trust=None)  # type: ignore[arg-type]


BLOCK_NET, BLOCK_AGENT = ("blocks", "cidr 203.0.0.0/16"), ("blocks", "agent badbot")
ALLOW_IP = ("allows", "ip 203.0.113.7")


@pytest.mark.parametrize(
    ("records", "config", "reason"),
    [
        ([BLOCK_NET, ALLOW_IP], ANYONE, ""),
        ([BLOCK_NET, ("allows", "ip 203.0.113.8")], ANYONE, "ip_blocked"),
        ([BLOCK_AGENT], ANYONE, "agent_blocked"),
        ([BLOCK_AGENT], {"blocks": False}, ""),
        ([BLOCK_AGENT, ALLOW_IP], ANYONE, ""),
        ([("blocks", "agent goodbot")], ANYONE, ""),
        ([ALLOW_IP], {"deny": ["203.0.113.7"]}, "ip_denied"),
        ([], {"deny_lists": ["office"]}, "ip_denied"),
        ([], {"deny_lists": ["nobody", "vips"]}, ""),
        ([BLOCK_NET], {"allow_lists": ["nobody", "office"]}, ""),
        ([BLOCK_NET], {"allow_lists": ["vips"]}, "ip_blocked"),
        ([], {"deny": ["203.0.113.7"], "allow_lists": ["office"]}, ""),
    ],
)
def test_allows_agents_and_lists(records: list[tuple[str, str]], config: dict[str, Any], reason: str) -> None:
    asked = facts("203.0.113.7")._replace(headers={"user-agent": "Some BadBot/1.0"})
    verdict = decide_stranger(asked, parse(config), held(*records), NOW)
    assert (verdict.reason if verdict else "") == reason


TOKEN_BLOCK, USER_BLOCK = ("blocks", "token https://a|t-1"), ("blocks", "user kim")


@pytest.mark.parametrize(
    ("records", "config", "reason"),
    [
        ([TOKEN_BLOCK], ANYONE, "token_blocked"),
        ([("blocks", "token t-1")], ANYONE, "token_blocked"),
        ([("blocks", "token https://b|t-1")], ANYONE, ""),
        ([TOKEN_BLOCK], {"blocks": False}, ""),
        ([USER_BLOCK, TOKEN_BLOCK], ANYONE, "user_blocked"),
        ([USER_BLOCK, ("allows", "user https://a|kim")], ANYONE, ""),
        ([USER_BLOCK, ("allows", "user https://b|kim")], ANYONE, "user_blocked"),
        ([USER_BLOCK], {"allow_lists": ["vips"]}, ""),
        ([USER_BLOCK], {"allow_lists": ["office"]}, "user_blocked"),
        ([], {"deny_lists": ["vips"]}, "user_denied"),
        ([], {"deny_lists": ["office", "nobody"]}, ""),
    ],
)
def test_tokens_allowed_users_and_lists_of_users(
    records: list[tuple[str, str]], config: dict[str, Any], reason: str
) -> None:
    asked = facts("203.0.113.7", KIM._replace(token_id="t-1"))
    verdict = decide_identified(asked, parse(config), held(*records), NOW)
    assert (verdict.reason if verdict else "") == reason


def test_a_config_tells_the_lists_that_it_names() -> None:
    assert parse({"deny_lists": ["a"], "allow_lists": ["b", "c"]}).list_names == ("a", "b", "c")


@pytest.mark.parametrize("token_id", ["", "t" * 80])
def test_a_token_is_blocked_by_its_hash_too(token_id: str) -> None:
    who = Identity("https://a", "alice", token_id, token=b"\x12" * 16)
    hit = Block("token", "https://a|#" + "12" * 8, "", "gateway", 0.0, NOW + 60)
    found = decide_identified(facts("203.0.113.7", who), parse({}), state(hit), NOW)
    assert isinstance(found, Verdict)
    assert found.reason == "token_blocked"
    other = who._replace(token=b"\x13" * 16)
    assert decide_identified(facts("203.0.113.7", other), parse({}), state(hit), NOW) is None


@pytest.mark.parametrize("subject", ["u" * 200, "\u0000", "é" * 60])
def test_a_user_of_a_long_name_is_blocked_by_its_hash(subject: str) -> None:
    who = Identity("https://a", subject)
    hit = Block("user", trace.hash_of_user(who), "", "gateway", 0.0, NOW + 60)
    found = decide_identified(facts("203.0.113.7", who), parse({}), state(hit), NOW)
    assert isinstance(found, Verdict)
    assert found.reason == "user_blocked"
    for other in (who._replace(issuer="https://b"), who._replace(subject=subject + "x"), KIM):
        assert decide_identified(facts("203.0.113.7", other), parse({}), state(hit), NOW) is None
