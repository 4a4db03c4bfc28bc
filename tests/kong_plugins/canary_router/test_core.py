"""canary-router: config, order of the rules, and the share of users."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.canary_router.bucket import BUCKETS, bucket, hash_key, threshold
from kong_plugins.canary_router.config import parse
from kong_plugins.canary_router.core import decide
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.canaries import override_record
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import build, snapshot_of_dump

PLAN: dict[str, Any] = {"name": "v2", "upstream": "checkout-v2"}
KIM = Identity("https://a", "kim")


def facts(identity: Identity | None = None, ip: str = "203.0.113.7", **headers: str) -> Facts:
    return Facts("r1", ip, "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), headers, identity)


def run(plan: dict[str, Any], asked: Facts, *overrides: CanaryOverride) -> Verdict:
    state = State(build(1, (), overrides), trust=None)  # type: ignore[arg-type]
    return decide(asked, parse({**PLAN, **plan}), state, 0.0)


TAG = parse({"name": "v2", "upstream": "u"}).limits_tag


@pytest.mark.parametrize(
    ("plan", "identity", "ip", "reason"),
    [
        ({}, KIM, "203.0.113.7", ""),
        ({"users": ["kim"]}, KIM, "203.0.113.7", "canary_user"),
        ({"users": ["https://a|kim"]}, KIM, "203.0.113.7", "canary_user"),
        ({"users": ["https://b|kim"]}, KIM, "203.0.113.7", ""),
        ({"users": ["kim"]}, None, "203.0.113.7", ""),
        ({"cidrs": ["203.0.113.0/24"]}, None, "203.0.113.7", "canary_cidr"),
        ({"cidrs": ["203.0.113.0/24"]}, None, "::ffff:203.0.113.7", "canary_cidr"),
        ({"cidrs": ["203.0.113.0/24"]}, None, "203.0.114.7", ""),
        ({"cidrs": ["203.0.113.0/24"]}, None, "unix:", ""),
        ({"cidrs": ["203.0.113.0/24"], "users": ["kim"]}, KIM, "203.0.113.7", "canary_user"),
        ({"cidrs": ["203.0.113.0/24"], "percent": 100}, KIM, "203.0.113.7", "canary_cidr"),
        ({"percent": 100}, KIM, "203.0.113.7", "canary_percent"),
        ({"percent": 100}, None, "203.0.113.7", ""),
        ({"percent": 0}, KIM, "203.0.113.7", ""),
    ],
)
def test_order_of_the_rules(plan: dict[str, Any], identity: Identity | None, ip: str, reason: str) -> None:
    verdict = run(plan, facts(identity, ip))
    if reason:
        assert verdict == Verdict(
            upstream="checkout-v2",
            service_headers=(("X-Canary", "v2=canary"),),
            reason=reason,
            arm="v2=canary",
            memo=f"{'drawn' if reason == 'canary_percent' else 'c'}={TAG}",
        )
    else:
        # only where the percent was asked for can the two arms be compared
        memo = f"drawn={TAG}" if identity is not None else ""
        assert verdict == Verdict(service_headers=(("X-Canary", "v2=control"),), arm="v2=control", memo=memo)


EVERYBODY = {"users": ["kim"], "cidrs": ["0.0.0.0/0"], "percent": 100}


@pytest.mark.parametrize(
    ("plan", "override", "arm", "reason"),
    [
        (EVERYBODY, CanaryOverride("v2", 100, frozenset({"kim"}), True), "control", "canary_paused"),
        (EVERYBODY, CanaryOverride("other", paused=True), "canary", "canary_user"),
        ({"percent": 100}, CanaryOverride("v2", percent=0), "control", ""),
        ({"percent": 0}, CanaryOverride("v2", percent=100), "canary", "canary_percent"),
        ({"percent": 100}, CanaryOverride("v2"), "canary", "canary_percent"),
        ({"users": ["kim"]}, CanaryOverride("v2", users=frozenset()), "control", ""),
        ({"users": ["kim"]}, CanaryOverride("v2", users=frozenset({"lee"})), "control", ""),
        ({}, CanaryOverride("v2", users=frozenset({"kim"})), "canary", "canary_user"),
        ({"users": ["kim"]}, CanaryOverride("v2", percent=0), "canary", "canary_user"),
        ({"cidrs": ["0.0.0.0/0"]}, CanaryOverride("v2", percent=0), "canary", "canary_cidr"),
    ],
)  # fmt: skip
def test_an_operator_stands_above_the_plan(
    plan: dict[str, Any], override: CanaryOverride, arm: str, reason: str
) -> None:
    verdict = run(plan, facts(KIM), override)
    assert (verdict.arm, verdict.reason) == (f"v2={arm}", reason)
    assert verdict.upstream == ("checkout-v2" if arm == "canary" else "")


def test_what_the_client_says_has_no_say() -> None:
    claims = facts(None, **{"x-canary": "v2=canary", "cookie": "user=kim", "x-user": "kim"})
    assert run({"users": ["kim"], "percent": 100}, claims).arm == "v2=control"


keys = st.binary(min_size=1, max_size=20)
users = st.text(max_size=40)


@settings(deadline=None)
@given(users, users)
def test_bucket_is_the_documented_hash(salt: str, user: str) -> None:
    key = hashlib.blake2b(salt.encode(), digest_size=32).digest()
    digest = hashlib.blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    assert hash_key(salt) == key
    assert bucket(key, user) == int.from_bytes(digest, "big") % 10_000


@settings(deadline=None)
@given(users, users, st.floats(0, 100), st.floats(0, 100))
def test_raising_the_percent_only_adds_users(issuer: str, subject: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    asked = facts(Identity(issuer, subject))
    if run({"percent": low}, asked).upstream:
        assert run({"percent": high}, asked).upstream


@settings(deadline=None)
@given(users, st.floats(0, 100))
def test_the_operators_percent_picks_the_same_users_as_the_plans(subject: str, percent: float) -> None:
    asked = facts(Identity("i", subject))
    assert run({"percent": percent}, asked).arm == run({}, asked, CanaryOverride("v2", percent=percent)).arm


@settings(deadline=None)
@given(users)
def test_all_and_none(subject: str) -> None:
    asked = facts(Identity("i", subject))
    assert run({"percent": 100}, asked).upstream
    assert not run({"percent": 0}, asked).upstream


def share(percent: float, **plan: Any) -> set[int]:
    config = parse({**PLAN, **plan, "percent": percent})
    return {n for n in range(20_000) if bucket(config.key, f"https://a|user-{n}") < config.threshold}


@pytest.mark.parametrize("percent", [0.5, 1, 10, 50, 99])
def test_the_share_is_the_percent(percent: float) -> None:
    # 4 standard deviations of a binomial share of 20,000; the users are fixed, so it holds always or never
    spread = 4 * (percent / 100 * (1 - percent / 100) / 20_000) ** 0.5
    assert abs(len(share(percent)) / 20_000 - percent / 100) < spread


def test_two_canaries_pick_independent_users_and_a_shared_salt_the_same() -> None:
    one, other = share(10), share(10, name="v3")
    assert 0.006 < len(one & other) / 20_000 < 0.014
    assert share(10, salt="s") == share(10, name="v3", salt="s") != one


@pytest.mark.parametrize(
    ("percent", "buckets"),
    [(0, 0), (100, BUCKETS), (0.01, 1), (0.29, 29), (33.33, 3333), (0.004, 0), (99.99, 9999)],
)
def test_threshold(percent: float, buckets: int) -> None:
    assert threshold(percent) == buckets


def test_a_user_with_bytes_that_are_not_text_gets_a_bucket() -> None:
    assert run({"percent": 100}, facts(Identity("i", "\udcff\ud800"))).upstream


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"upstream": "u"}, r"^name: expected text, the field is required"),
        ({"name": "", "upstream": "u"}, r"^name: expected text"),
        ({"name": "a=b", "upstream": "u"}, r"^name: 'a=b' is not"),
        ({"name": "a\r\nX: 1", "upstream": "u"}, r"^name: "),
        ({"name": "a"}, r"^upstream: expected text, the field is required"),
        ({**PLAN, "percent": 101}, r"^percent: expected a number from 0 to 100, not 101"),
        ({**PLAN, "percent": -0.1}, r"^percent: "),
        ({**PLAN, "percent": float("nan")}, r"^percent: "),
        ({**PLAN, "percent": True}, r"^percent: "),
        ({**PLAN, "percent": "10"}, r"^percent: "),
        ({**PLAN, "cidrs": ["10.0.0.1/8"]}, r"^cidrs\[0\]: "),
        ({**PLAN, "users": [1]}, r"^users\[0\]: "),
        (
            {**PLAN, "users": ["a"] * 501},
            r"^users: 501 entries are more than 500: make them a list .* users_list$",
        ),
        ({**PLAN, "rules": [{"users": ["a"] * 501}]}, r"^rules\[0\]: users: 501 entries"),
        ({**PLAN, "fail": "x"}, r"^fail: "),
    ],
)
def test_bad_config_names_the_field(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(raw)


BULK = "0" * 32


def with_list(*overrides: CanaryOverride) -> State:
    """A state with the list of users "staff": kim."""
    data = {"kind": "users", "count": 1, "bulk": BULK}
    records = {
        "lists": [Record("lists", "staff", data)],
        "canaries": [override_record(override) for override in overrides],
    }
    dump = StateDump(1, records, {BULK: {"https://a|kim": ""}})
    return State(snapshot_of_dump(dump), trust=None)  # type: ignore[arg-type]


LEE = Identity("https://a", "lee")


@pytest.mark.parametrize(
    ("plan", "override", "identity", "reason"),
    [
        ({"users_list": "staff"}, {}, KIM, "canary_user"),
        ({"users_list": "staff"}, {}, LEE, ""),
        ({"users_list": "staff"}, {}, None, ""),
        ({"users_list": "nobody"}, {}, KIM, ""),
        ({"users_list": "staff", "users": ["lee"]}, {}, LEE, "canary_user"),
        ({}, {"users_list": "staff"}, KIM, "canary_user"),
        ({"users": ["lee"]}, {"users_list": "staff"}, LEE, ""),
        ({"users_list": "staff"}, {"users": frozenset({"lee"})}, KIM, ""),
        ({"users_list": "staff"}, {"users": frozenset({"lee"})}, LEE, "canary_user"),
        ({"users_list": "staff"}, {"aborted": True}, KIM, "canary_aborted"),
        ({"users_list": "staff"}, {"aborted": True, "expires": 50.0}, KIM, "canary_user"),
        ({"percent": 100}, {"percent": 0.0, "expires": 50.0}, LEE, "canary_percent"),
        ({"percent": 100}, {"percent": 0.0, "expires": 51.0}, LEE, ""),
    ],
)
def test_named_lists_and_what_ends(
    plan: dict[str, Any], override: dict[str, Any], identity: Identity | None, reason: str
) -> None:
    overrides = [CanaryOverride("v2", **override)] if override else []
    config = parse({**PLAN, **plan})
    verdict = decide(facts(identity), config, with_list(*overrides), 50.0)
    assert verdict.reason == reason
    assert config.list_names == ((plan["users_list"],) if "users_list" in plan else ())


def test_a_list_needs_a_name() -> None:
    with pytest.raises(ValueError, match="users_list"):
        parse({**PLAN, "users_list": "a b"})
