"""Limits: what counts, under which key, before and after it is known who it is."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.abuse_guard import limits, trace
from kong_plugins.abuse_guard.config import parse
from kong_plugins.abuse_guard.core import IDENTIFIED_ASK, STRANGER_ASK, decide_identified, decide_stranger
from kong_plugins.engine import chain
from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.gcra import remaining
from kong_plugins.state.marks import Mark, mark_data
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import empty_snapshot, snapshot_of_dump

NOW = 1_700_000_000.0
ALICE = Identity("https://auth.example", "alice", "t1")
HOUR = 3600
ROOT = Path(__file__).parents[3]


def facts(ip: str = "203.0.113.7", who: Identity | None = None, **more: Any) -> Facts:
    base = Facts(
        "req-1", ip, "https", "GET", "h", "/menu", "/menu", "shop", "s", "t", "", frozenset(), {}, who
    )
    return base._replace(**more)


def limit(
    name: str = "l", key: Any = ("ip",), rate: float = 5, per: float = HOUR, **more: Any
) -> dict[str, Any]:
    return {"name": name, "key": list(key), "rate": rate, "per": per, "burst": int(rate), **more}


@pytest.fixture
def state() -> State:
    return State(empty_snapshot(), None, {}, Cells.attach(Cells.create(4096)))  # type: ignore[arg-type]


def admitted(config: Any, state: State, every: list[Facts], now: float = NOW) -> list[bool]:
    found = []
    for each in every:
        decide = decide_stranger if each.identity is None else decide_identified
        verdict = decide(each, config, state, now)
        assert not isinstance(verdict, Ask)
        found.append(verdict is None or verdict.status is None)
    return found


@pytest.mark.parametrize(
    ("key", "one", "other", "shared"),
    [
        ("ip", facts("203.0.113.7"), facts("203.0.113.8"), False),
        ("ip", facts("203.0.113.7"), facts("::ffff:203.0.113.7"), True),
        ("ip", facts("2001:db8::1"), facts("2001:db8::ffff:2"), True),
        ("ip", facts("2001:db8::1"), facts("2001:db8:0:1::1"), False),
        ("ip", facts("fe80::1%eth0"), facts("fe80::1%eth1"), True),
        ("user", facts(who=ALICE), facts("198.51.100.1", ALICE), True),
        ("user", facts(who=ALICE), facts(who=ALICE._replace(subject="bob")), False),
        ("user", facts(who=ALICE), facts(who=ALICE._replace(issuer="https://other.example")), False),
        ("token", facts(who=ALICE), facts(who=ALICE._replace(token_id="t2")), False),
        (
            "token",
            facts(who=ALICE._replace(token_id="", token=b"a")),
            facts(who=ALICE._replace(token_id="", token=b"b")),
            False,
        ),
        ("route", facts(), facts(route="other"), False),
        ("tenant", facts(route="x"), facts("198.51.100.1"), True),
        (
            "header:X-Device",
            facts(headers={"x-device": "a"}),
            facts("198.51.100.1", headers={"x-device": "a"}),
            True,
        ),
        ("header:X-Device", facts(headers={"x-device": "a"}), facts(headers={"x-device": "b"}), False),
        ("header:X-Device", facts(headers={}), facts("198.51.100.1", headers={}), False),
        ("header:X-Device", facts(headers={"x-device": "ip=203.0.113.7"}), facts(headers={}), False),
        (
            "header:X-Device",
            facts(headers={"x-device": "\udcff" * 300}),
            facts(headers={"x-device": "\udcfe" * 300}),
            False,
        ),
    ],
)
def test_what_shares_a_count(state: State, key: str, one: Facts, other: Facts, shared: bool) -> None:
    config = parse({"limits": [limit(key=[key], rate=1)]})
    assert admitted(config, state, [one, one, other]) == [True, False, not shared]


def test_several_limits_count_all_or_nothing(state: State) -> None:
    config = parse({"limits": [limit("wide", ["ip"], 3), limit("narrow", ["ip", "route"], 1)]})
    assert admitted(config, state, [facts(), facts(), facts()]) == [True, False, False]
    # the refused ones did not cost anything of `wide`
    assert admitted(config, state, [facts(route="b"), facts(route="c"), facts(route="d")]) == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("more", "request_", "counts"),
    [
        ({"cost": 5}, facts(), 5),
        ({"costs": {"shop": 3}}, facts(), 3),
        ({"costs": {"other": 3}}, facts(), 1),
        ({"costs": {"shop": 0}}, facts(), 0),
        ({"paths": ["/menu"]}, facts(path="/menu/1", raw_path="/x"), 1),
        ({"paths": ["/menu"]}, facts(path="/x", raw_path="/menu/1"), 0),
        ({"methods": ["POST"]}, facts(), 0),
        ({"methods": ["GET"]}, facts(), 1),
    ],
)
def test_what_a_request_costs(state: State, more: dict[str, Any], request_: Facts, counts: int) -> None:
    config = parse({"limits": [limit(rate=5, **more)]})
    verdict = decide_stranger(request_, config, state, NOW)
    if not counts:
        assert verdict is None
    else:
        assert isinstance(verdict, Verdict)
        assert dict(verdict.headers)["RateLimit"] == f'"l";r={5 - counts};t=720'


def test_a_refusal_says_why_and_when_to_come_again(state: State) -> None:
    config = parse({"limits": [limit("per-ip", rate=2, per=20)]})
    verdict = None
    for _ in range(3):
        verdict = decide_stranger(facts(), config, state, NOW)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.reason) == (429, "rate_limited")
    headers = dict(verdict.headers)
    assert headers["Retry-After"] == "10"
    assert headers["RateLimit-Policy"] == '"per-ip";q=2;w=20'
    assert headers["RateLimit"] == '"per-ip";r=0;t=10'
    body = json.loads(verdict.body)
    assert (body["reason"], body["status"]) == ("rate_limited", 429)
    assert "per-ip" in body["detail"]
    later = decide_stranger(facts(), config, state, NOW + 10)
    assert isinstance(later, Verdict)
    assert later.status is None, "whoever waits as told is admitted"


def test_headers_can_be_left_out(state: State) -> None:
    config = parse({"headers": False, "limits": [limit(rate=1)]})
    assert decide_stranger(facts(), config, state, NOW) is None
    refused = decide_stranger(facts(), config, state, NOW)
    assert isinstance(refused, Verdict)
    assert [name for name, _ in refused.headers if "limit" in name.lower() or name == "Retry-After"] == [
        "Retry-After"
    ]
    told = decide_stranger(facts(), parse({"limits": [limit(rate=1)]}), state, NOW)
    assert isinstance(told, Verdict)
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= {name for name, _ in told.headers}


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 20), st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 3))))
def test_what_is_left_grows_by_one_after_t_and_not_before(
    rate: int, burst: int, steps: list[tuple[int, int]]
) -> None:
    """By the draft: within `t` seconds a client can use no more than `r`, and Retry-After is not before it."""
    burst = max(burst, 3)
    raw = {"name": "l", "key": ["ip"], "rate": rate, "per": 7, "burst": burst}
    configs = {cost: parse({"limits": [{**raw, "cost": cost}]}) for cost in (1, 2, 3)}
    at = State(empty_snapshot(), None, {}, Cells.attach(Cells.create(64)))  # type: ignore[arg-type]
    now = 1000.0
    for milliseconds, cost in steps:
        now += milliseconds / 1000
        verdict = decide_stranger(facts(), configs[cost], at, now)
        assert isinstance(verdict, Verdict)
        headers = dict(verdict.headers)
        left, seconds = map(int, re.findall(r"=(\d+)", headers["RateLimit"]))
        tat = at.cells.tat("l ip=203.0.113.7", 0) if at.cells else 0
        emission = round(7e9 / rate)

        def left_at(when: float, tat: int = tat, emission: int = emission) -> int:
            return remaining(tat, int(when * 1e9), emission, burst * emission)

        assert left == left_at(now)
        assert left_at(now + seconds) >= left + 1
        assert left_at(now + seconds - 1.001) <= left
        if verdict.status is not None:
            assert int(headers["Retry-After"]) >= seconds


def test_a_dry_run_tells_and_refuses_nothing(state: State) -> None:
    config = parse({"limits": [limit("try", rate=1, dry_run=True), limit("real", rate=3)]})
    found = [decide_stranger(facts(), config, state, NOW) for _ in range(4)]
    assert [one.status for one in found if isinstance(one, Verdict)] == [None, None, None, 429]
    assert isinstance(found[1], Verdict)
    assert (found[1].reason, found[1].memo) == ("rate_limit_dry_run", "dry=try")


@pytest.mark.parametrize("allow", [{"allow": ["203.0.113.0/24"]}, {}])
def test_whoever_is_allowed_is_not_limited(state: State, allow: dict[str, Any]) -> None:
    if not allow:
        dump = StateDump(1, {"allows": [Record("allows", "ip 203.0.113.7", {})]}, {})
        state = state._replace(snapshot=snapshot_of_dump(dump))
    config = parse({"limits": [limit(rate=1)], **allow})
    assert admitted(config, state, [facts()] * 5) == [True] * 5


def test_a_user_whom_an_operator_allows_is_not_limited(state: State) -> None:
    dump = StateDump(1, {"allows": [Record("allows", f"user {ALICE.key}", {})]}, {})
    state = state._replace(snapshot=snapshot_of_dump(dump))
    config = parse({"limits": [limit(key=["user"], rate=1)]})
    bob = ALICE._replace(subject="bob")
    assert admitted(config, state, [facts(who=ALICE)] * 3) == [True] * 3
    assert admitted(config, state, [facts(who=bob)] * 3) == [True, False, False]


def test_what_a_limit_refuses_is_told_to_the_scenarios(state: State) -> None:
    scenario = {"name": "n", "group_by": ["user"], "capacity": 9, "leak": 1, "then": ["notify"]}
    for key, request_ in (("ip", facts()), ("user", facts(who=ALICE))):
        decide = decide_stranger if request_.identity is None else decide_identified
        config = parse({"limits": [limit(key=[key], rate=1)], "scenarios": [scenario]})
        decide(request_, config, state, NOW)
        refused = decide(request_, config, state, NOW)
        assert isinstance(refused, Verdict)
        words = dict(word.split("=", 1) for word in refused.memo.split())
        assert (refused.status, words["limit"]) == (429, "l")
        assert ("g" if key == "ip" else "gu") in words


def test_a_block_comes_before_the_limits_and_uses_nothing_of_them(state: State) -> None:
    config = parse({"limits": [limit(rate=2)]})
    dump = StateDump(1, {"blocks": [Record("blocks", "ip 203.0.113.7", {})]}, {})
    blocked = state._replace(snapshot=snapshot_of_dump(dump))
    for _ in range(5):
        verdict = decide_stranger(facts(), config, blocked, NOW)
        assert isinstance(verdict, Verdict)
        assert (verdict.status, verdict.reason) == (403, "ip_blocked")
    assert admitted(config, state, [facts()] * 3) == [True, True, False]


def test_a_limit_comes_before_what_scenarios_found(state: State) -> None:
    state = marked(state, "ip 203.0.113.7", limit=0.001)
    config = parse({"limits": [limit(rate=1)]})
    found = [decide_stranger(facts(), config, state, NOW) for _ in range(8)]
    reasons = [one.reason for one in found[1:] if isinstance(one, Verdict)]
    assert reasons == ["rate_limited"] * 7, "never scenario_limited, which alone refuses from the sixth on"


def test_explain_is_told_under_which_keys_a_request_counts() -> None:
    config = parse(
        {"limits": [limit(), limit("u", ["user"]), limit("p", paths=["/x"]), limit("s", policy="strict")]}
    )
    assert limits.keys_of(config.stranger, facts(), "203.0.113.7") == ["l ip=203.0.113.7", "s ip=203.0.113.7"]
    assert limits.keys_of(config.identified, facts(), "") == []
    assert limits.keys_of(config.identified, facts(who=ALICE), "") == ["u user=https://auth.example|alice"]


# strict


def test_a_strict_limit_asks_once_and_its_answer_decides(state: State) -> None:
    config = parse({"limits": [limit("s", rate=2, policy="strict"), limit("l", rate=9)]})
    ask = decide_stranger(facts(), config, state, NOW)
    assert ask == Ask("limits", STRANGER_ASK, ("s ip=203.0.113.7", 1800 * 10**9, HOUR * 10**9, 1))
    now_ns = int(NOW * 1e9)
    yes = state._replace(answers={STRANGER_ASK: (True, [now_ns + 1800 * 10**9])})
    passed = decide_stranger(facts(), config, yes, NOW)
    assert isinstance(passed, Verdict)
    assert [value for name, value in passed.headers if name == "RateLimit"] == [
        '"s";r=1;t=1800',
        '"l";r=8;t=400',
    ]
    no = state._replace(answers={STRANGER_ASK: (False, [now_ns + HOUR * 10**9])})
    refused = decide_stranger(facts(), config, no, NOW)
    assert isinstance(refused, Verdict)
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (429, "1800")
    again = decide_stranger(facts(), config, yes, NOW)
    assert isinstance(again, Verdict)
    assert again.headers[-1] == ("RateLimit", '"l";r=7;t=400'), "the refused one cost nothing of the other"


def test_what_redis_refuses_is_told_to_operators(state: State) -> None:
    assert state.cells is not None
    config = parse({"limits": [limit("s", rate=2, policy="strict"), limit("t", rate=9, policy="strict")]})
    now_ns = int(NOW * 1e9)
    no = state._replace(answers={STRANGER_ASK: (False, [now_ns + HOUR * 10**9, now_ns])})
    for _ in range(3):
        refused = decide_stranger(facts(), config, no, NOW)
        assert isinstance(refused, Verdict)
        assert refused.reason == "rate_limited"
    told = state.cells.refusals.latest(now_ns, 9)
    assert [(one.key, one.times) for one in told] == [("s ip=203.0.113.7", 3)]


def test_what_the_node_refuses_by_itself_is_not_asked(state: State) -> None:
    config = parse({"limits": [limit("s", rate=9, policy="strict"), limit("l", rate=1)]})
    yes = state._replace(answers={STRANGER_ASK: (True, [int(NOW * 1e9)])})
    assert isinstance(decide_stranger(facts(), config, state, NOW), Ask)
    assert isinstance(decide_stranger(facts(), config, state, NOW), Ask), "asking counts nothing"
    passed = decide_stranger(facts(), config, yes, NOW)
    assert isinstance(passed, Verdict)
    assert passed.status is None
    refused = decide_stranger(facts(), config, state, NOW)
    assert isinstance(refused, Verdict)
    assert (refused.status, dict(refused.headers)["Retry-After"]) == (429, "3600")
    assert dict(refused.headers)["RateLimit-Policy"] == '"l";q=1;w=3600'


def test_what_redis_refuses_in_one_pass_costs_nothing_in_the_other(state: State) -> None:
    every = [limit("ip", ["ip"], 5, policy="strict"), limit("user", ["user"], 2, policy="strict")]
    config, now_ns = parse({"limits": every}), int(NOW * 1e9)
    refused = {STRANGER_ASK: (True, [now_ns]), IDENTIFIED_ASK: (False, [now_ns + HOUR * 10**9])}
    for _ in range(9):  # the script is all or nothing over both
        passed = decide_stranger(facts(), config, state._replace(answers=refused), NOW)
        assert isinstance(passed, Verdict)
        assert passed.status is None
    lost = state._replace(answers={STRANGER_ASK: None, IDENTIFIED_ASK: None})
    assert admitted(config, lost, [facts()] * 6) == [True] * 5 + [False]


def test_a_dry_run_beside_a_strict_limit_is_told(state: State) -> None:
    config = parse({"limits": [limit("d", rate=2, dry_run=True), limit("u", ["user"], 50, policy="strict")]})
    answered = state._replace(answers={IDENTIFIED_ASK: (True, [int(NOW * 1e9)])})
    said = []
    for _ in range(4):
        decide_stranger(facts(), config, state, NOW)
        said.append(decide_stranger(facts(), config, answered, NOW))
    assert said[0] is None
    assert [one.reason for one in said[2:] if isinstance(one, Verdict)] == ["rate_limit_dry_run"] * 2


def test_without_an_answer_a_strict_limit_counts_on_the_node(state: State) -> None:
    config = parse({"limits": [limit("s", rate=2, policy="strict")]})
    lost = state._replace(answers={STRANGER_ASK: None})
    found = [decide_stranger(facts(), config, lost, NOW) for _ in range(3)]
    assert [one.status for one in found if isinstance(one, Verdict)] == [None, None, 429]


def test_a_lost_answer_does_not_give_the_burst_again(state: State) -> None:
    config = parse({"limits": [limit("s", rate=4, policy="strict")]})
    tat = int(NOW * 1e9)
    answers: list[Any] = [(True, [tat]), None, (True, [tat]), None, None, (True, [tat])]
    found = [
        decide_stranger(facts(), config, state._replace(answers={STRANGER_ASK: each}), NOW)
        for each in answers
    ]
    assert [one.status if isinstance(one, Verdict) else None for one in found] == [None] * 4 + [429] * 2


def test_the_second_run_counts_nothing_twice(state: State) -> None:
    config = parse({"limits": [limit("ip", rate=9), limit("u", ["user"], 5, policy="strict")]})
    one = facts(who=ALICE)
    assert isinstance(decide_stranger(one, config, state, NOW), Verdict)
    assert isinstance(decide_identified(one, config, state, NOW), Ask)
    answered = state._replace(answers={IDENTIFIED_ASK: (True, [int(NOW * 1e9)])})
    second = decide_stranger(one, config, answered, NOW)
    assert isinstance(second, Verdict)
    assert second.headers[-1] == ("RateLimit", '"ip";r=8;t=400')


# marks


def test_a_users_limit_refuses_beside_a_strict_one_of_addresses(state: State) -> None:
    every = [limit("per-ip", ["ip"], 1000, policy="strict"), limit("per-user", ["user"], 2)]

    config = parse({"limits": every})
    steps = (
        (decide_stranger, config, "abuse-guard"),
        (lambda *_: Verdict(identity=ALICE), None, "passport"),
        (decide_identified, config, "abuse-guard"),
    )
    answered = state._replace(answers={STRANGER_ASK: (True, [int(NOW * 1e9)])})
    found = []
    for _ in range(4):
        pending = chain.run(facts(), steps, state, NOW)
        assert isinstance(pending, chain.Pending)
        found.append(chain.run(facts(), steps, answered, NOW, pending))
    assert [each.status for each in found] == [None, None, 429, 429]
    assert found[-1].reason == "rate_limited"


def marked(state: State, key: str, **data: Any) -> State:
    mark = Mark(key, 70, ("coupon-hammering",), **data)
    record = Record("marks", key, mark_data(mark), expires=NOW + 60)
    return state._replace(snapshot=snapshot_of_dump(StateDump(1, {"marks": [record]}, {})))


@pytest.mark.parametrize(
    ("key", "request_", "now", "has_score"),
    [
        ("ip 203.0.113.7", facts(), NOW, True),
        ("ip 203.0.113.7", facts(), NOW + 60, False),
        ("ip 203.0.113.8", facts(), NOW, False),
        ("cidr 203.0.113.0/24", facts(), NOW, True),
        ("cidr 2001:db8::/64", facts("2001:db8::5"), NOW, True),
        ("user https://auth.example|alice", facts(who=ALICE), NOW, True),
        ("user https://auth.example|alice", facts(who=ALICE._replace(subject="bob")), NOW, False),
    ],
)
def test_a_mark_becomes_a_score_for_the_service(
    state: State, key: str, request_: Facts, now: float, has_score: bool
) -> None:
    decide = decide_stranger if request_.identity is None else decide_identified
    verdict = decide(request_, parse({}), marked(state, key), now)
    if not has_score:
        assert verdict is None
    else:
        assert isinstance(verdict, Verdict)
        assert verdict.service_headers == (("X-Abuse-Score", '70;reasons="coupon-hammering"'),)


@pytest.mark.parametrize(("of_user", "of_ip"), [(10, 90), (90, 10)])
def test_a_users_score_does_not_hide_that_of_his_address(state: State, of_user: int, of_ip: int) -> None:
    """The header that is set last is the one that the service sees."""
    marks = [Mark(f"user {ALICE.key}", of_user, ("orders",)), Mark("ip 203.0.113.7", of_ip, ("scan",))]
    dump = {"marks": [Record("marks", mark.key, mark_data(mark), expires=NOW + 60) for mark in marks]}
    state = state._replace(snapshot=snapshot_of_dump(StateDump(1, dump, {})))
    found = decide_identified(facts(who=ALICE), parse({}), state, NOW)
    assert isinstance(found, Verdict)
    assert found.service_headers == (("X-Abuse-Score", '90;reasons="orders scan"'),)
    other = decide_identified(facts("198.51.100.1", ALICE), parse({}), state, NOW)
    assert isinstance(other, Verdict)
    assert other.service_headers == (("X-Abuse-Score", f'{of_user};reasons="orders"'),)
    odd = decide_identified(facts("unix:", ALICE), parse({}), state, NOW)
    assert isinstance(odd, Verdict)


@pytest.mark.parametrize("by", ["config", "operator"])
def test_the_score_of_an_allowed_address_is_not_told_with_its_users(state: State, by: str) -> None:
    marks = [Mark(f"user {ALICE.key}", 10, ("orders",)), Mark("ip 203.0.113.7", 90, ("scan",))]
    dump = {"marks": [Record("marks", mark.key, mark_data(mark), expires=NOW + 60) for mark in marks]}
    if by == "operator":
        dump["allows"] = [Record("allows", "cidr 203.0.113.0/24", {})]
    state = state._replace(snapshot=snapshot_of_dump(StateDump(1, dump, {})))
    config = parse({"allow": ["203.0.113.7"]} if by == "config" else {})
    found = decide_identified(facts(who=ALICE), config, state, NOW)
    assert isinstance(found, Verdict)
    assert found.service_headers == (("X-Abuse-Score", '10;reasons="orders"'),)


def test_the_pace_of_an_address_is_not_counted_again_for_its_user(state: State) -> None:
    marks = [Mark(f"user {ALICE.key}", 10, ("orders",)), Mark("ip 203.0.113.7", 90, ("scan",), 0.001)]
    dump = {"marks": [Record("marks", mark.key, mark_data(mark), expires=NOW + 60) for mark in marks]}
    state = state._replace(snapshot=snapshot_of_dump(StateDump(1, dump, {})))
    found = [decide_identified(facts(who=ALICE), parse({}), state, NOW) for _ in range(9)]
    assert [one.status for one in found if isinstance(one, Verdict)] == [None] * 9, "the first pass counts it"


def test_a_mark_of_a_user_of_a_long_name(state: State) -> None:
    who = ALICE._replace(subject="a" * 200)
    verdict = decide_identified(
        facts(who=who), parse({}), marked(state, f"user {trace.hash_of_user(who)}"), NOW
    )
    assert isinstance(verdict, Verdict)
    assert verdict.service_headers == (("X-Abuse-Score", '70;reasons="coupon-hammering"'),)


def test_a_scenarios_limit_slows_down(state: State) -> None:
    state = marked(state, "ip 203.0.113.7", limit=0.5)
    found = [decide_stranger(facts(), parse({}), state, NOW) for _ in range(7)]
    statuses = [one.status for one in found if isinstance(one, Verdict)]
    assert statuses == [None] * 5 + [429] * 2
    last = found[-1]
    assert isinstance(last, Verdict)
    assert (last.reason, dict(last.headers)["Retry-After"]) == ("scenario_limited", "2")


def test_a_scenarios_limit_counts_a_request_once_beside_a_strict_one(state: State) -> None:
    """The chain runs twice then."""
    state = marked(state, "ip 203.0.113.7", limit=0.001)
    config = parse({"limits": [limit("s", ["user"], 1000, policy="strict")]})
    steps = (
        (decide_stranger, config, "abuse-guard"),
        (lambda *_: Verdict(identity=ALICE), None, "passport"),
        (decide_identified, config, "abuse-guard"),
    )
    answered = state._replace(answers={IDENTIFIED_ASK: (True, [int(NOW * 1e9)])})
    found = []
    for _ in range(7):
        first = chain.run(facts(), steps, state, NOW)
        if isinstance(first, chain.Pending):
            first = chain.run(facts(), steps, answered, NOW, first)
        assert isinstance(first, Verdict)
        found.append(first.status)
    assert found == [None] * 5 + [429] * 2


def test_where_blocks_do_not_count_marks_do_not(state: State) -> None:
    for key, request_ in (("ip 203.0.113.7", facts()), (f"user {ALICE.key}", facts(who=ALICE))):
        decide = decide_stranger if request_.identity is None else decide_identified
        assert decide(request_, parse({"blocks": False}), marked(state, key), NOW) is None
        limited = parse({"blocks": False, "limits": [limit(key=[key.partition(" ")[0]], rate=9)]})
        found = decide(request_, limited, marked(state, key), NOW)
        assert isinstance(found, Verdict)
        assert found.service_headers == ()


def test_the_higher_score_of_an_address_and_its_network_is_told(state: State) -> None:
    marks = [Mark("ip 203.0.113.7", 30, ("a",)), Mark("cidr 203.0.113.0/24", 80, ("b",))]
    dump = {"marks": [Record("marks", mark.key, mark_data(mark), expires=NOW + 60) for mark in marks]}
    state = state._replace(snapshot=snapshot_of_dump(StateDump(1, dump, {})))
    found = decide_stranger(facts(), parse({}), state, NOW)
    assert isinstance(found, Verdict)
    assert found.service_headers == (("X-Abuse-Score", '80;reasons="a b"'),)


@pytest.mark.parametrize("part", [0, 0.4, 0.9])
@pytest.mark.parametrize("rate", [0.02, 0.5, 0.7, 0.999, 1, 3, 1000])
def test_a_scenarios_limit_admits_after_retry_after_and_not_much_sooner(
    state: State, rate: float, part: float
) -> None:
    """part: of the wait, when he asks again."""
    state = marked(state, "ip 203.0.113.7", limit=rate)

    def at(now: float) -> Verdict:
        found = decide_stranger(facts(), parse({}), state, now)
        assert isinstance(found, Verdict)
        return found

    assert [at(NOW).status for _ in range(6)] == [None] * 5 + [429]
    again = NOW + part / rate
    answer = at(again)
    wait = int(dict(answer.headers)["Retry-After"])
    assert answer.status == 429
    assert f"Try again in {wait} s." in answer.body
    if wait > 1:
        assert at(again + wait - 1).status == 429
    assert at(again + wait).status is None


# the rule itself


@settings(max_examples=100, deadline=None)
@given(
    rate=st.integers(1, 50),
    burst=st.integers(1, 30),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 3)), min_size=1, max_size=60),
)
def test_never_more_than_burst_and_rate_and_never_starved(
    rate: int, burst: int, steps: list[tuple[float, int]]
) -> None:
    state = State(empty_snapshot(), None, {}, Cells.attach(Cells.create(64)))  # type: ignore[arg-type]
    config = parse({"limits": [{"name": "l", "key": ["ip"], "rate": rate, "burst": burst}]})
    now, passed = NOW, 0
    for wait, count in steps:
        now += wait
        passed += sum(admitted(config, state, [facts()] * count, now))
        assert passed <= burst + rate * (now - NOW) + 1e-3
    refused = decide_stranger(facts(), config, state, now)
    if isinstance(refused, Verdict) and refused.status == 429:
        wait = int(dict(refused.headers)["Retry-After"])
        assert wait <= math.ceil(1 / rate) + 1
        assert admitted(config, state, [facts()], now + wait) == [True]


def test_four_workers_admit_exactly_five() -> None:
    fd = Cells.create(4096)
    os.set_inheritable(fd, True)
    program = f"""
from tests.kong_plugins.abuse_guard.test_limits import *
from kong_plugins.state import locks
locks.PATIENCE_SECONDS = locks.LONGEST_SECONDS = 50.0  # whoever holds a lock may have no core for a while
state = State(empty_snapshot(), None, {{}}, Cells.attach({fd}))
config = parse({{"limits": [limit()]}})
print(sum(admitted(config, state, [facts()] * 200)))
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, pass_fds=(fd,), cwd=ROOT
        )
        for _ in range(4)
    ]
    found = [int(worker.communicate(timeout=55)[0]) for worker in workers]
    os.close(fd)
    assert sum(found) == 5


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"name": "x"}, "key: at least one"),
        ({"name": "x", "key": ["ip"]}, "rate: the field is required"),
        ({"name": "x y", "key": ["ip"], "rate": 1}, "name:"),
        ({"name": "x", "key": ["address"], "rate": 1}, "key: 'address'"),
        ({"name": "x", "key": ["header:"], "rate": 1}, "key: 'header:'"),
        ({"name": "x", "key": ["ip"], "rate": 0}, "rate:"),
        ({"name": "x", "key": ["ip"], "rate": 1, "burst": 2, "cost": 3}, "cost: 3 is more than the burst"),
        ({"name": "x", "key": ["ip"], "rate": 1, "costs": {"r": 3}}, "costs.r: 3 is more than the burst"),
        ({"name": "x", "key": ["ip"], "rate": 1, "policy": "sloppy"}, "policy:"),
        ({"name": "x", "key": ["ip"], "rate": 1, "paths": ["/a//b"]}, "paths[0]"),
        ({"name": "x", "key": ["ip"], "rate": 1, "paths": ["/a/../b"]}, "paths[0]"),
        ({"name": "x", "key": ["ip"], "rate": 1, "paths": ["/a%2fb"]}, "as '%2F'"),
        ({"name": "x", "key": ["ip"], "rate": 1, "paths": ["/ok%2F", "/%61b"]}, "paths[1]"),
        ({"name": "x", "key": ["ip"], "rate": 1, "methods": ["get"]}, "methods[0]"),
        ({"name": "x", "key": ["ip"], "rate": 1, "costs": [1]}, "costs: expected a map"),
        ({"name": "x", "key": ["ip"], "rate": 1, "burst": 2.5}, "burst: expected a whole number, not 2.5"),
        (
            {"name": "x", "key": ["ip"], "rate": 0.001, "per": 86400},
            "burst: it comes back in more than a year",
        ),
        ({"name": "x", "key": "ip", "rate": 1}, "key: expected a list"),
        ({"name": "x", "key": ["ip"], "rate": "ten"}, "rate:"),
    ],
)
def test_a_bad_limit_is_named(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^limits\[0\]\.") as caught:
        parse({"limits": [raw]})
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ([limit("a"), limit("b"), limit("a", ["user"])], r"^limits\[2\]\.name: 'a' is there twice"),
        ([limit(f"l{number}") for number in range(17)], "^limits: 17 entries, 16 are allowed"),
        ("per-ip", "^limits: expected a list"),
        (["per-ip"], r"^limits\[0\]: expected a map"),
    ],
)
def test_what_is_no_list_of_limits(raw: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse({"limits": raw})


IPS = st.sampled_from(["203.0.113.7", "::ffff:203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2:1"])
STRANGERS = [["ip"]], [["ip"], ["route"]], [["ip", "route"], ["header:X-Device"], ["tenant"]]
USERS = [["user"]], [["user"], ["token"]], [["user", "ip"], ["user", "route"], ["token"]]


@pytest.mark.parametrize(("keys", "known"), [*((k, False) for k in STRANGERS), *((k, True) for k in USERS)])
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(IPS, st.sampled_from("ab"), st.integers(0, 2)), max_size=20), st.booleans())
def test_the_short_way_says_what_the_long_one_does(
    keys: list[list[str]], known: bool, requests: list[tuple[str, str, int]], headers: bool
) -> None:
    all_ = [limit(f"l{number}", key, 3 + 2 * number) for number, key in enumerate(keys)]
    short = parse({"limits": all_, "headers": headers})
    long = parse({"limits": [{**one, "paths": ["/"]} for one in all_], "headers": headers})
    decide = decide_identified if known else decide_stranger
    for config in (short, long):
        mine = config.identified if known else config.stranger
        assert (mine.quick is not None) == (config is short)
    # of two secrets, and so large that in neither keys push each other out
    table = Cells.attach(Cells.create(4096)), Cells.attach(Cells.create(4096))
    now = NOW
    for ip, route, passed in requests:
        now += passed * HOUR / 4
        who = ALICE._replace(subject=route, token_id=ip) if known else None
        request = facts(ip, who, route=route, headers={"x-device": route} if passed else {})
        one, other = (
            decide(request, config, State(empty_snapshot(), None, {}, cells), now)  # type: ignore[arg-type]
            for config, cells in zip((short, long), table, strict=True)
        )
        assert one == other


def test_limits_count_by_the_node_s_own_clock() -> None:
    cells = Cells.attach(Cells.create(64))
    cells.use_own_clock()
    config = parse({"limits": [limit(rate=1)]})
    at = State(empty_snapshot(), None, {}, cells)  # type: ignore[arg-type]
    found = [decide_stranger(facts(), config, at, NOW + jump) for jump in (0, 10 * HOUR, -10 * HOUR)]
    assert [one.status for one in found if isinstance(one, Verdict)] == [None, 429, 429]
    assert cells.tat("l ip=203.0.113.7", 0) > cells.now()
