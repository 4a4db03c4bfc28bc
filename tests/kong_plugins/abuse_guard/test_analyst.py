"""Scenarios: outcomes go in, blocks, marks and events come out."""

from typing import Any

import pytest

from kong_plugins.abuse_guard import analyst, shipped, trace
from kong_plugins.abuse_guard.analyst import Analyst
from kong_plugins.abuse_guard.buckets import Buckets
from kong_plugins.abuse_guard.config import Config, parse
from kong_plugins.abuse_guard.scenario import MAX_DISTINCT
from kong_plugins.engine.facts import Identity
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.marks import mark_of
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of_dump
from kong_plugins.state.targets import block_of
from tests.kong_plugins.abuse_guard.site import IP, NOW, SIMPLE, Site, kinds


def test_more_than_the_capacity_is_a_block_that_ends() -> None:
    site = Site(SIMPLE)
    assert site.send(3) == []
    (block,) = site.send(1)
    assert (block.collection, block.key, block.data) == ("blocks", f"ip {IP}", {})
    assert block.ttl is not None
    assert 90 <= block.ttl <= 110
    assert "many: 4 requests" in block.reason
    assert block_of(Record(block.collection, block.key, dict(block.data or {}))).value == IP


@pytest.mark.parametrize(("step", "is_found"), [(0.1, True), (1.9, True), (2.1, False)])
def test_what_leaks_out_does_not_count(step: float, is_found: bool) -> None:
    assert bool(Site(SIMPLE).send(60, step=step)) == is_found


@pytest.mark.parametrize(("step", "is_found"), [(4.9, False), (2.5, True)])
def test_a_counter_starts_again_after_its_window(step: float, is_found: bool) -> None:
    counter = {**SIMPLE, "type": "counter", "window": 10}
    assert bool(Site(counter).send(40, step=step)) == is_found


@pytest.mark.parametrize(
    ("filter_", "request_", "counts"),
    [
        ({}, {}, True),
        ({"statuses": ["404"]}, {"status": 404}, True),
        ({"statuses": ["4xx"]}, {"status": 404}, True),
        ({"statuses": ["404"]}, {"status": 403}, False),
        ({"reasons": ["token_expired"]}, {"status": 401, "reason": "token_expired"}, True),
        ({"reasons": ["token_expired"]}, {"status": 401, "reason": "no_token"}, False),
        ({"paths": ["/login"]}, {"path": "/login/x"}, True),
        ({"paths": ["/login"]}, {"path": "/api/login"}, False),
        ({"path_parts": ["/login"]}, {"path": "/api/login"}, True),
        ({"methods": ["POST"]}, {"method": "POST"}, True),
        ({"methods": ["POST"]}, {}, False),
        ({"agent": "missing"}, {"agent": ""}, True),
        ({"agent": "missing"}, {}, False),
        ({"agents": ["SqlMap"]}, {"agent": "xSQLMAP/1"}, True),
        ({"agents": ["sqlmap"]}, {"agent": ""}, False),
        ({"statuses": ["429"]}, {"status": 429, "reason": "rate_limited"}, True),
        ({"reasons": ["rate_limited"]}, {"status": 429, "reason": "rate_limited"}, True),
        ({}, {"status": 429, "reason": "scenario_limited"}, False),
        ({"group_by": ["user"]}, {"user": "alice"}, True),
        ({"group_by": ["user"]}, {}, False),
        ({"group_by": ["token"]}, {"user": "alice", "token": "t"}, True),
        ({}, {"status": 403, "reason": "ip_blocked"}, False),
        ({}, {"ip": "unix:"}, False),
    ],
)
def test_what_counts(filter_: dict[str, Any], request_: dict[str, Any], counts: bool) -> None:
    assert bool(Site({**SIMPLE, **filter_}).send(4, **request_)) == counts


@pytest.mark.parametrize(
    ("group_by", "request_", "key"),
    [
        (["ip"], {"ip": "::ffff:203.0.113.7"}, "ip 203.0.113.7"),
        (["ip"], {"ip": "2001:470::1"}, "cidr 2001:470::/64"),
        (["network"], {}, "cidr 203.0.113.0/24"),
        (["network"], {"ip": "2001:470:0:1ff::1"}, "cidr 2001:470:0:100::/56"),
        (["user"], {"user": "a b|c"}, "user https://a|a b|c"),
        (["token"], {"user": "alice", "token": "t1"}, "token https://a|t1"),
        (["route", "ip"], {}, "ip 203.0.113.7"),
    ],
)
def test_whom_a_block_hits(group_by: list[str], request_: dict[str, Any], key: str) -> None:
    (block,) = Site({**SIMPLE, "group_by": group_by}).send(4, **request_)
    assert block.key == key
    block_of(Record("blocks", block.key, {}))  # a key that the control state takes


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("route", {"route": "a"}, {"route": "b"}),
        ("tenant", {"tenant": "a"}, {"tenant": "b"}),
        ("agent", {"agent": "a"}, {"agent": "b"}),
    ],
)
def test_what_is_counted_apart(part: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    scenario = {**SIMPLE, "group_by": [part], "then": ["notify"]}
    site = Site(scenario)
    assert site.send(3, **one) + site.send(3, **other) == []
    (found,) = site.send(1, ip="198.51.100.9", **one)
    assert (found.kind, found.subject.partition(" ")[0]) == ("abuse.found", part)
    both = Site({**scenario, "group_by": ["ip", part]})
    assert both.send(3, **one) + both.send(3, **other) + both.send(3, ip="198.51.100.9", **one) == []
    assert both.send(1, **one)[0].subject.startswith(f"ip {IP}, {part} ")


def test_different_ones_that_leaked_out_count_anew() -> None:
    site = Site({**SIMPLE, "distinct": "path", "leak": 1, "capacity": 3})
    assert site.send(40, step=0.5, path=lambda number: f"/{number % 4}") != []
    few = Site({**SIMPLE, "distinct": "path", "leak": 1, "capacity": 3})
    assert few.send(40, step=2, path=lambda number: f"/{number % 4}") == []
    (of,) = few.config.scenarios.items if few.config.scenarios else ()
    assert few.analyst.buckets.level(of, f"ip {IP}", NOW + 78) == 1, (
        "the last one, which had leaked out before"
    )


@pytest.mark.parametrize("part", ["route", "tenant", "agent"])
def test_without_an_agent_nobody_is_in_its_group(part: str) -> None:
    scenario = {**SIMPLE, "group_by": [part], "then": ["notify"]}
    assert bool(Site(scenario).send(9, agent="")) == (part != "agent")


@pytest.mark.parametrize(("group_by", "then"), [("user", "block"), ("token", "block"), ("user", "mark")])
def test_a_user_of_a_long_name_is_acted_upon_too(group_by: str, then: str) -> None:
    who = Identity("https://a", "u" * 200, "t1", token=b"\x12" * 16)
    site = Site({**SIMPLE, "group_by": [group_by], "then": [then]})
    (made,) = site.send(4, user=who.subject, token=who.token_id, digest=who.token)
    name = trace.hash_of_user(who) if group_by == "user" else trace.hash_of_token(who)
    assert (made.collection, made.key) == (f"{then}s", f"{group_by} {name}")
    (block_of if then == "block" else mark_of)(Record(made.collection, made.key, dict(made.data or {})))


def test_different_ones_count_once() -> None:
    site = Site({**SIMPLE, "distinct": "path"})
    assert site.send(50, path=lambda number: f"/{number % 3}") == []
    assert kinds(site.send(1, path="/new")) == ["block.add"]


@pytest.mark.parametrize(
    ("distinct", "group_by", "same", "other"),
    [
        ("user", "ip", {"user": "alice"}, lambda number: f"user-{number}"),
        ("ip", "user", {"user": "alice"}, lambda number: f"198.51.100.{number}"),
    ],
)
def test_different_users_and_addresses_count_once(
    distinct: str, group_by: str, same: dict[str, Any], other: Any
) -> None:
    site = Site({**SIMPLE, "group_by": [group_by], "distinct": distinct, "leak": 0.001})
    assert site.send(50, **same) == []
    assert site.send(40, **{**same, distinct: lambda number: other(number % 2)}) == [], "three of them fit"
    (block,) = site.send(1, **{**same, distinct: other(2)})
    assert f"4 different {distinct}s" in block.reason
    assert block.key == (f"ip {IP}" if group_by == "ip" else "user https://a|alice")


def test_a_rotating_user_agent() -> None:
    site = Site({**SIMPLE, "group_by": ["user"], "distinct": "agent"})
    assert site.send(50, user="alice") == []
    assert kinds(site.send(5, user="alice", agent=lambda number: f"Agent/{number}")) == ["block.add"]


def test_good_requests_take_out_what_mistakes_put_in() -> None:
    wrong = {**SIMPLE, "statuses": ["401"], "leak": 0.001, "relief": 0.1}
    assert Site(wrong).send(400, status=lambda number: 401 if number % 33 == 0 else 200) == []
    assert Site(wrong).send(400, status=lambda number: 401 if number % 3 == 0 else 200) != []


def test_only_well_answered_requests_take_something_out() -> None:
    wrong = {**SIMPLE, "statuses": ["401"], "leak": 0.001, "relief": 1}
    site = Site(wrong)
    assert site.send(3, status=401) == []
    site.send(9, status=500)
    site.send(9, status=404)
    assert kinds(site.send(1, status=401)) == ["block.add"]


def test_repeat_offenders_wait_longer_and_not_foreseeably() -> None:
    site = Site({**SIMPLE, "factor": 2, "max_ttl": 1000})
    ttls = [site.send(4, now=NOW + 5000 * turn)[0].ttl or 0 for turn in range(6)]
    for ttl, plain in zip(ttls, (100, 200, 400, 800, 1000, 1000), strict=True):
        assert 0.9 * plain <= ttl <= 1.1 * plain
    assert ttls[-1] != ttls[-2], "jitter"
    other = Analyst(b"t" * 16)
    other.configure([site.config])
    outcomes = [site.outcome() for _ in range(4)]
    assert other.take(outcomes, NOW)[0].ttl != ttls[0], "another secret, another jitter"
    forgiven = site.send(4, now=NOW + 5000 * 6 + 8 * 86400)[0].ttl or 0
    assert forgiven <= 110


def test_what_is_under_way_when_it_is_found_is_no_new_offence() -> None:
    assert len(Site(SIMPLE).send(40)) == 1


def test_simulate_only_tells() -> None:
    (told,) = Site({**SIMPLE, "simulate": True, "then": ["block", "mark"]}).send(4)
    assert (told.kind, told.collection, told.numbers["then"]) == ("abuse.simulated", "", ["block", "mark"])


def test_marks_and_limits() -> None:
    site = Site(
        {**SIMPLE, "then": ["limit", "notify"], "score": 30, "limit_rate": 2},
        {**SIMPLE, "name": "other", "statuses": ["404"], "then": ["mark"], "score": 60},
    )
    first = site.send(4)
    assert kinds(first) == ["mark.set", "abuse.found"]
    made = mark_of(Record("marks", first[0].key, dict(first[0].data or {})))
    assert (made.key, made.score, made.reasons, made.limit) == (f"ip {IP}", 30, ("many",), 2.0)
    both = mark_of(Record("marks", f"ip {IP}", dict(site.send(4, status=404)[0].data or {})))
    assert (both.score, both.reasons, both.limit) == (90, ("many", "other"), 2.0), "the scores add up"
    assert site.analyst.tick(NOW + 200) == []
    later = site.send(4, NOW + 300, status=404)[0]
    assert (later.data or {})["score"] == 30, "what has ended does not count"


def test_scores_add_up_to_100_at_most() -> None:
    each = [{**SIMPLE, "name": name, "then": ["mark"], "score": 70} for name in ("a", "b")]
    found = Site(*each).send(4)
    assert [(one.data or {})["score"] for one in found] == [70, 100]


def test_a_mark_that_another_node_made_is_kept() -> None:
    """Or one of this node before it was started anew: the control state knows it."""
    site = Site({**SIMPLE, "then": ["mark"], "score": 20})
    own = site.send(4)[0]
    seen = {"score": 45, "reasons": ["elsewhere"], "limit": 3.0}
    dump = {"marks": [Record("marks", f"ip {IP}", seen, expires=NOW + 900)]}
    site.analyst.see(snapshot_of_dump(StateDump(1, dump, {})), NOW)
    found = site.send(4, NOW + 40)[0]
    both = mark_of(Record("marks", f"ip {IP}", dict(found.data or {})))
    assert (both.score, both.reasons, both.limit) == (65, ("elsewhere", "many"), 3.0)
    assert (own.ttl or 0) <= 110
    assert found.ttl == 860, "and it does not end sooner for that"
    again = site.send(4, NOW + 2000)[0]
    assert mark_of(Record("marks", f"ip {IP}", dict(again.data or {}))).reasons == ("many",), (
        "that one has ended"
    )


def test_a_short_mark_does_not_shorten_a_long_one() -> None:
    site = Site(
        {**SIMPLE, "then": ["limit"], "ttl": 1000},
        {**SIMPLE, "name": "other", "statuses": ["500"], "then": ["mark"], "ttl": 10},
    )
    (long,) = site.send(4)
    (short,) = site.send(4, NOW + 1, status=500)
    assert (short.ttl or 0) >= (long.ttl or 0) - 1


@pytest.mark.parametrize("long_first", [True, False])
def test_a_short_block_does_not_shorten_a_long_one(long_first: bool) -> None:
    """What is under way when a block is made may overflow another scenario: its block would be the one that holds."""
    both = [{**SIMPLE, "ttl": 1000}, {**SIMPLE, "name": "other", "ttl": 10, "then": ["block", "notify"]}]
    found = Site(*(both if long_first else both[::-1])).send(4)
    ends = [one.ttl or 0 for one in found if one.kind == "block.add"]
    assert max(ends) == ends[-1] >= 900
    assert len(ends) == (1 if long_first else 2)
    assert "abuse.found" in kinds(found), "it is told all the same"


# what it must not do


@pytest.mark.parametrize(
    ("ip", "more", "is_blocked"),
    [
        ("10.0.0.1", {}, False),
        ("127.0.0.1", {}, False),
        ("192.168.1.1", {"block_private": True}, True),
        ("172.16.0.1", {}, False),
        ("172.32.0.1", {}, True),
        ("100.64.0.1", {}, False),
        ("100.128.0.1", {}, True),
        ("169.254.1.1", {}, False),
        ("::1", {}, False),
        ("::ffff:10.0.0.1", {}, False),
        ("fe80::1", {}, False),
        ("fd00::1", {}, False),
        (IP, {"allow": ["203.0.113.0/24"]}, False),
        (IP, {"allow": ["198.51.100.0/24"]}, True),
    ],
)
def test_private_and_allowed_addresses_are_not_blocked(
    ip: str, more: dict[str, Any], is_blocked: bool
) -> None:
    assert kinds(Site(SIMPLE, **more).send(4, ip=ip)) == ["block.add" if is_blocked else "abuse.held_back"]


SLOW = {**SIMPLE, "then": ["limit", "mark"], "score": 30}


@pytest.mark.parametrize(
    ("ip", "more", "is_slowed"),
    [
        (IP, {}, True),
        ("10.0.0.1", {}, False),
        ("10.0.0.1", {"block_private": True}, True),
        (IP, {"allow": ["203.0.113.0/24"]}, False),
    ],
)
def test_whom_a_scenario_s_limit_would_slow_down_is_spared_as_from_a_block(
    ip: str, more: dict[str, Any], is_slowed: bool
) -> None:
    """A request a second is hardly more than none, for what stands behind a balancer."""
    found = Site(SLOW, **more).send(4, ip=ip)
    assert kinds(found) == (["mark.set"] if is_slowed else ["abuse.held_back", "mark.set"])
    made = mark_of(Record("marks", found[-1].key, dict(found[-1].data or {})))
    assert (made.score, made.limit) == (30, 1.0 if is_slowed else 0.0), "a score hurts nobody"
    alone = Site({**SLOW, "then": ["limit"]}, **more).send(4, ip=ip)
    assert kinds(alone) == (["mark.set"] if is_slowed else ["abuse.held_back"])


def test_a_limit_that_would_slow_down_much_of_the_good_traffic_is_held_back() -> None:
    site = Site({**SLOW, "statuses": ["404"], "then": ["limit"]}, max_blocked_traffic=0.1)
    site.send(300, ip=lambda number: f"8.8.{number}.1" if number < 256 else "8.9.0.1")
    site.send(60, ip="9.9.9.9")
    assert kinds(site.send(4, ip="9.9.9.9", status=404)) == ["abuse.held_back"]
    assert kinds(site.send(4, ip="9.9.9.8", status=404)) == ["mark.set"]


def test_a_user_whom_an_operator_allows_is_not_slowed_down() -> None:
    site = Site({**SLOW, "group_by": ["user"], "then": ["limit"]})
    allow = {"allows": [Record("allows", "user https://a|alice", {})]}
    site.analyst.see(snapshot_of_dump(StateDump(1, allow, {})), NOW)
    assert kinds(site.send(4, user="alice")) == ["abuse.held_back"]
    assert kinds(site.send(4, user="bob")) == ["mark.set"]


def test_limits_are_no_share_of_the_addresses() -> None:
    """Users who hammer coupons behind one address are many and one."""
    site = Site({**SLOW, "group_by": ["user"]})
    found = [one for number in range(30) for one in site.send(4, user=f"u{number}")]
    assert kinds(found) == ["mark.set"] * 30


def test_a_network_of_private_addresses_is_not_blocked() -> None:
    assert kinds(Site({**SIMPLE, "group_by": ["network"]}).send(4, ip="10.1.2.3")) == ["abuse.held_back"]


@pytest.mark.parametrize(("allowed", "kind"), [(f"ip {IP}", "ip"), ("user https://a|alice", "user")])
def test_whom_an_operator_allows_is_not_blocked(allowed: str, kind: str) -> None:
    site = Site({**SIMPLE, "group_by": [kind]})
    snapshot = snapshot_of_dump(StateDump(1, {"allows": [Record("allows", allowed, {})]}, {}))
    site.analyst.see(snapshot, NOW)
    assert kinds(site.send(4, user="alice")) == ["abuse.held_back"]
    assert site.analyst.levels()["blocks_held_back"] == 0, "the breaker is another reason"


@pytest.mark.parametrize(
    ("kind", "row"), [("addresses", "cidr 203.0.113.0/24"), ("users", "https://a|alice")]
)
def test_whom_an_allow_list_of_one_config_holds_is_not_blocked(kind: str, row: str) -> None:
    scenario = {**SIMPLE, "group_by": ["ip" if kind == "addresses" else "user"]}
    site, other = Site(scenario), Site(scenario, allow_lists=["nobody", "office"])
    bulk = "0" * 32
    about = Record("lists", "office", {"kind": kind, "count": 1, "bulk": bulk})
    snapshot = snapshot_of_dump(StateDump(1, {"lists": [about]}, {bulk: {row: ""}}))
    for configs, found in (([site.config], "block.add"), ([site.config, other.config], "abuse.held_back")):
        site.analyst = site.another()
        site.analyst.configure(configs)
        site.analyst.see(snapshot, NOW)
        assert kinds(site.send(4, user="alice")) == [found]


@pytest.mark.parametrize("strictest_first", [True, False])
def test_of_several_configs_the_strictest_holds_the_blocker_back(strictest_first: bool) -> None:
    site, other = Site(SIMPLE, max_blocked_addresses=1), Site(SIMPLE, max_blocked_addresses=0)
    both = [other.config, site.config] if strictest_first else [site.config, other.config]
    site.analyst.configure(both)
    found = [one for number in range(20) for one in site.send(4, ip=f"9.9.9.{number}")]
    assert kinds(found).count("block.add") == 10


def test_a_share_of_the_addresses_a_minute_is_the_most() -> None:
    site = Site(SIMPLE, max_blocked_addresses=0.05)

    def address(number: int) -> str:
        return f"8.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    site.send(400, ip=address)  # 400 addresses that do nothing special
    found = [one for number in range(100) for one in site.send(4, ip=f"9.9.9.{number}", now=NOW + 1)]
    # 5% of 400 and of the hundred that came
    assert 18 <= kinds(found).count("block.add") <= 26
    assert kinds(found).count("abuse.held_back") == 1, "told once a minute"
    assert kinds(site.send(4, ip="9.9.8.1", now=NOW + 200)) == ["block.add"], "the next minute"


def test_a_block_that_would_take_much_of_the_good_traffic_is_held_back() -> None:
    scenario = {**SIMPLE, "statuses": ["404"]}
    site = Site(scenario, max_blocked_traffic=0.1)
    site.send(300, ip=lambda number: f"8.8.{number}.1" if number < 256 else "8.9.0.1")
    site.send(60, ip="9.9.9.9")  # a sixth of what is answered well
    assert kinds(site.send(4, ip="9.9.9.9", status=404)) == ["abuse.held_back"]
    assert kinds(site.send(4, ip="9.9.9.8", status=404)) == ["block.add"]


def test_the_attack_itself_is_no_good_traffic() -> None:
    site = Site({**SIMPLE, "statuses": ["404"]})
    site.send(300, ip=lambda number: f"8.8.{number % 256}.1")
    assert "block.add" in kinds(site.send(3000, ip="9.9.9.9", status=404))


# nodes


def test_counters_of_nodes_are_merged() -> None:
    site = Site({**SIMPLE, "leak": 0.001}, {**SIMPLE, "name": "paths", "capacity": 5, "distinct": "path"})
    other = site.another()
    assert site.send(2, path=lambda number: f"/{number}") == []
    told = site.analyst.tell(NOW + 1)
    assert told is not None
    assert site.analyst.tell(NOW + 2) is None, "told once"
    assert other.merge("node-a", told, NOW + 1) == []
    assert other.tell(NOW + 1) is None, "what others told is not told again"
    found = other.take([site.outcome(path="/x"), site.outcome(path="/y")], NOW + 1)
    assert kinds(found) == ["block.add"]


@pytest.mark.parametrize("distinct", [{}, {"distinct": "path"}])
def test_what_another_node_tells_can_be_too_much(distinct: dict[str, Any]) -> None:
    scenario = {**SIMPLE, "leak": 0.001, **distinct}
    site, other = Site(scenario), Site(scenario)
    site.send(3, path=lambda number: f"/{number}")
    other.send(3, path=lambda number: f"/other{number}")
    told = site.analyst.tell(NOW)
    assert told is not None
    (block,) = other.analyst.merge("n", told, NOW)
    assert (block.kind, block.key) == ("block.add", f"ip {IP}")
    same = Site(scenario)
    same.send(3, path=lambda number: f"/{number}")
    assert bool(same.analyst.merge("n", told, NOW)) == (not distinct), "the same paths are no different ones"


def test_nodes_tell_each_other_twice_a_second_and_not_all_at_once() -> None:
    site, other = Site({**SIMPLE, "leak": 0.001}), Site({**SIMPLE, "leak": 0.001})
    site.send(analyst.MAX_TOLD + 20, ip=lambda number: f"9.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    site.send(3, ip="198.51.100.9")
    first = site.analyst.tell(NOW)
    assert first is not None
    assert len(first["b"]) == analyst.MAX_TOLD
    assert first["b"][0][1] == "ip 198.51.100.9", "the fullest first"
    assert site.analyst.tell(NOW + 0.4) is None
    rest = site.analyst.tell(NOW + 0.5)
    assert rest is not None
    assert len(rest["b"]) == 21
    other.analyst.merge("n", {"b": first["b"] + rest["b"]}, NOW + 1)
    assert other.analyst.levels()["buckets"] == analyst.MAX_TOLD, "of one message no more is taken"


@pytest.mark.parametrize("told", [{}, {"b": 1}, {"b": [1]}, {"b": [["?", "g", 1, []]]}, {"b": [[1, 2, 3]]}])
def test_what_another_version_tells_breaks_nothing(told: dict[str, Any]) -> None:
    assert Site(SIMPLE).analyst.merge("n", told, NOW) == []


def test_a_block_that_was_held_back_is_no_offence() -> None:
    site = Site(SIMPLE)
    allowed = snapshot_of_dump(StateDump(1, {"allows": [Record("allows", f"ip {IP}", {})]}, {}))
    site.analyst.see(allowed, NOW)
    assert kinds(site.send(4)) == ["abuse.held_back"]
    assert site.send(4, NOW + 40) == [], "told once a minute"
    site.analyst.see(snapshot_of_dump(StateDump(2, {}, {})), NOW + 80)
    (block,) = site.send(4, NOW + 80)
    assert block.numbers["offence"] == 1
    assert (block.ttl or 0) <= 110, "as of a first one"


# configs


def test_outcomes_of_unknown_configs_and_without_a_trace_are_left_out() -> None:
    site, other = Site(SIMPLE), Site({**SIMPLE, "capacity": 4})
    assert site.analyst.take([other.outcome()], NOW) == []
    assert site.analyst.untraced == 1
    bare = site.outcome()._replace(memo="")
    assert site.analyst.take([bare] * 9, NOW) == []
    for memo in ("g=", "g=a.b", "g=a.zz.c.d", "x g=1.2"):
        assert site.analyst.take([bare._replace(memo=memo)], NOW) == []


def test_a_config_that_goes_takes_its_counts_along() -> None:
    site = Site(SIMPLE)
    site.send(3)
    site.analyst.configure([])
    site.analyst.configure([site.config])
    assert site.send(3) == []


def test_the_same_scenario_on_two_routes_counts_together() -> None:
    site, other = Site(SIMPLE), Site(SIMPLE, deny=["192.0.2.0/24"])
    site.analyst.configure([site.config, other.config])
    site.send(2)
    assert kinds(site.analyst.take([other.outcome(route="b")] * 2, NOW)) == ["block.add"]


def test_the_shipped_ones_are_whole_and_can_be_changed() -> None:
    config: Config = parse({"scenarios": [{"use": name} for name in shipped.SCENARIOS]})
    assert config.scenarios is not None
    assert len(config.scenarios.items) == 8
    assert all(COLLECTIONS["blocks"].cap > item.capacity for item in config.scenarios.items)
    changed = parse({"scenarios": [{"use": "path-scan", "capacity": 9, "simulate": True, "name": "scan"}]})
    assert changed.scenarios is not None
    (item,) = changed.scenarios.items
    assert (item.name, item.capacity, item.simulate, item.distinct) == ("scan", 9, True, "path")


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"use": "nothing"}, "use: 'nothing'"),
        ({**SIMPLE, "name": ""}, "name"),
        ({**SIMPLE, "capacity": None}, "capacity: the field is required"),
        ({**SIMPLE, "leak": None}, "leak: the field is required"),
        ({**SIMPLE, "type": "counter"}, "window: the field is required"),
        ({**SIMPLE, "group_by": ["route"]}, "group_by: to act"),
        ({**SIMPLE, "group_by": ["device"]}, "group_by[0]"),
        ({**SIMPLE, "distinct": "ip"}, "distinct: 'ip' is what is grouped by"),
        ({**SIMPLE, "distinct": "path", "capacity": 600}, "capacity: 600 different ones"),
        ({**SIMPLE, "then": ["ban"]}, "then[0]"),
        ({**SIMPLE, "then": []}, "then: at least one of"),
        # what would never count
        (
            {"use": "bad-bots", "agent": "missing"},
            "agent: a request without a User-Agent holds none of agents",
        ),
        (
            {**SIMPLE, "agent": "missing", "distinct": "agent"},
            "distinct: without a User-Agent there is no 'agent'",
        ),
        ({**SIMPLE, "group_by": ["agent", "ip"], "agent": "missing"}, "group_by: without a User-Agent"),
        ({**SIMPLE, "group_by": ["token"], "distinct": "user"}, "distinct: a token has one 'user'"),
        ({**SIMPLE, "distinct": "network"}, "distinct: an address has one 'network'"),
        ({"use": "path-scan", "window": 60}, "window: only with type counter"),
        ({**SIMPLE, "group_by": []}, "group_by: at least one of"),
        ({**SIMPLE, "group_by": ["token"], "then": ["mark"]}, "then: limit and mark need ip"),
        ({**SIMPLE, "capacity": 2.5}, "capacity: expected a whole number"),
        ({**SIMPLE, "paths": ["/x"], "statuses": "404"}, "statuses: expected a list"),
        ({**SIMPLE, "statuses": ["40x"]}, "statuses[0]"),
        ({**SIMPLE, "max_ttl": 10}, "max_ttl"),
        ({**SIMPLE, "paths": ["login"]}, "paths[0]"),
        # what would look at every request, or at none
        ({**SIMPLE, "agent": "none"}, "agent: 'none' is not one of missing"),
        ({**SIMPLE, "agents": ["sqlmap", " "]}, "agents[1]: empty"),
        ({**SIMPLE, "path_parts": [""]}, "path_parts[0]: empty"),
        ({**SIMPLE, "reasons": [""]}, "reasons[0]: empty"),
        (
            {**SIMPLE, "path_parts": ["/a/../b"]},
            "path_parts[0]: '/a/../b' is not a part of a normalised path",
        ),
        ({**SIMPLE, "path_parts": ["/%61dmin"]}, "path_parts[0]: '/%61dmin'"),
        ({**SIMPLE, "path_parts": ["/x?y"]}, "path_parts[0]: '/x?y'"),
    ],
)
def test_a_bad_scenario_is_named(raw: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^scenarios\[0\]\.") as caught:
        parse({"scenarios": [raw]})
    assert complaint in str(caught.value)


def test_two_scenarios_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^scenarios\[1\]\.name: 'path-scan' is there twice"):
        parse({"scenarios": [{"use": "path-scan"}, {"use": "path-scan", "capacity": 9}]})
    with pytest.raises(ValueError, match=r"^scenarios: 25 entries, 24 are allowed"):
        parse({"scenarios": [{**SIMPLE, "name": f"s{number}"} for number in range(25)]})


def test_the_longest_untouched_makes_room() -> None:
    (item,) = (parse({"scenarios": [SIMPLE]}).scenarios or pytest.fail("none")).items
    buckets = Buckets(limit=100)
    for number in range(10_000):
        buckets.pour(item, f"ip {number}", "", NOW)
        if number % 50 == 0:
            buckets.pour(item, "ip scanner", "", NOW, amount=0.001)
    assert len(buckets) == 100
    assert buckets.level(item, "ip scanner", NOW) == pytest.approx(0.2), "what is touched stays"


def test_of_the_longest_untouched_the_emptiest_makes_room() -> None:
    (item,) = (parse({"scenarios": [{**SIMPLE, "leak": 0.001}]}).scenarios or pytest.fail("none")).items
    buckets = Buckets(limit=20)
    for _ in range(3):
        buckets.pour(item, "ip scanner", "", NOW)
    for number in range(25):
        buckets.pour(item, f"ip {number}", "", NOW)
    assert buckets.evicted == 6
    assert buckets.level(item, "ip scanner", NOW) == 3


def test_one_bucket_holds_so_many_values() -> None:
    scenario = {**SIMPLE, "distinct": "path", "capacity": MAX_DISTINCT - 1}
    (item,) = (parse({"scenarios": [scenario]}).scenarios or pytest.fail("none")).items
    buckets = Buckets()
    for number in range(2 * MAX_DISTINCT):
        buckets.drain(item, "ip a", 1, NOW)
        buckets.pour(item, "ip a", f"p{number}", NOW)
    assert buckets.values == MAX_DISTINCT


def test_values_are_bounded_over_all_buckets() -> None:
    scenario = {**SIMPLE, "distinct": "path", "capacity": 400, "leak": 0.01}
    (item,) = (parse({"scenarios": [scenario]}).scenarios or pytest.fail("none")).items
    buckets = Buckets(values=1000)
    for path in range(30):
        for number in range(100):
            buckets.pour(item, f"ip {number}", f"p{path}", NOW + path)
    assert buckets.values <= 1000
    assert 0 < len(buckets) < 100
    for number in range(100):
        buckets.drain(item, f"ip {number}", 1000, NOW + 31)
        buckets.level(item, f"ip {number}", NOW + 1e6)
    assert buckets.values == 0, "what has leaked out does not count"
    for number in range(
        3
    ):  # three that are as full as they get: one makes room for another, never for itself
        assert not any(buckets.pour(item, f"ip {number}", f"p{path}", NOW + 1e6) for path in range(390))
    assert 390 <= buckets.values <= 1000
    buckets.keep(())
    assert buckets.values == 0
    overflowing = [buckets.pour(item, "ip x", f"p{path}", NOW + 1e6) for path in range(401)]
    assert overflowing[-1] is not None
    assert buckets.values == 0, "nor what has overflown"
