"""canary-router's rules, kill switch, ramps and the device cookie."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.canary_router import device
from kong_plugins.canary_router.config import header_names, parse, upstreams
from kong_plugins.canary_router.core import decide, limit_at
from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.engine.verdict import Verdict
from kong_plugins.identity.signing import Keyring, make_key
from kong_plugins.identity.trust import Trust
from kong_plugins.state.base import CanaryOverride, State
from kong_plugins.state.ramps import held, make_points, resumed
from kong_plugins.state.snapshot import build

KIM = Identity(
    "https://a", "kim", claims={"employee": True, "groups": ["qa", "ops"], "org": {"unit": "shop"}}
)
LEE = Identity("https://a", "lee", claims={"employee": False, "tier": 2})
TRUST = Trust.empty()


def facts(
    who: Identity | None = None, ip: str = "203.0.113.7", scheme: str = "https", **headers: str
) -> Facts:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Facts("r1", ip, scheme, "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), named, who)


def run(plan: dict[str, Any], asked: Facts, *overrides: CanaryOverride, now: float = 0.0) -> Verdict:
    state = State(build(1, (), overrides), TRUST)
    return decide(asked, parse({"name": "v2", "upstream": "v2", **plan}), state, now)


CHOICE = {"clients_may_choose": True}


@pytest.mark.parametrize(
    ("rule", "asked", "holds"),
    [
        ({"users": ["kim"]}, facts(KIM), True),
        ({"users": ["kim"]}, facts(LEE), False),
        ({"cidrs": ["203.0.113.0/24"]}, facts(), True),
        ({"cidrs": ["203.0.113.0/24"]}, facts(ip="198.51.100.1"), False),
        ({"claim": "employee"}, facts(KIM), True),
        ({"claim": "employee"}, facts(LEE), False),
        ({"claim": "employee"}, facts(), False),
        ({"claim": "employee", "values": ["true"]}, facts(KIM), True),
        ({"claim": "groups", "values": ["qa"]}, facts(KIM), True),
        ({"claim": "groups", "values": ["dev"]}, facts(KIM), False),
        ({"claim": "org.unit", "values": ["shop"]}, facts(KIM), True),
        ({"claim": "org.unit.x"}, facts(KIM), False),
        ({"claim": "tier", "values": ["2"]}, facts(LEE), True),
        ({"header": "X-Beta", **CHOICE}, facts(x_beta="no"), True),
        ({"header": "X-Beta", "values": ["yes"], **CHOICE}, facts(x_beta=" yes "), True),
        ({"header": "X-Beta", "values": ["yes"], **CHOICE}, facts(x_beta="no"), False),
        ({"header": "X-Beta", **CHOICE}, facts(), False),
        (
            {"header": "X-Beta", **CHOICE},
            facts(x_beta="yes")._replace(truncated=frozenset({"x-beta"})),
            False,
        ),
        ({"cookie": "beta", "values": ["1"], **CHOICE}, facts(cookie="a=b; beta=1"), True),
        ({"cookie": "beta", "values": ["1"], **CHOICE}, facts(cookie="beta=1; beta=1"), False),
        ({"cookie": "beta", **CHOICE}, facts(cookie="alphabeta=1"), False),
        ({"percent": 100}, facts(KIM), True),
        ({"percent": 0}, facts(KIM), False),
        ({"percent": 100}, facts(), False),
        ({"users": ["kim"], "cidrs": ["10.0.0.0/8"]}, facts(KIM), False),
        ({"users": ["kim"], "cidrs": ["10.0.0.0/8"]}, facts(KIM, "10.1.1.1"), True),
        ({}, facts(), True),
    ],
)
def test_each_condition(rule: dict[str, Any], asked: Facts, holds: bool) -> None:
    verdict = run({"rules": [rule]}, asked)
    assert (verdict.arm, verdict.upstream) == (("v2=canary", "v2") if holds else ("v2=control", ""))
    assert verdict.reason.startswith("canary_") is holds


@pytest.mark.parametrize(
    ("window", "now", "holds"),
    [
        ({"from": "1970-01-01T01:00Z"}, 3599.9, False),
        ({"from": "1970-01-01T01:00Z"}, 3600.0, True),
        ({"until": "1970-01-01T01:00Z"}, 3599.9, True),
        ({"until": "1970-01-01T01:00Z"}, 3600.0, False),
        ({"hours": "01:00-02:00"}, 86_400 + 3600.0, True),
        ({"hours": "01:00-02:00"}, 86_400 + 7200.0, False),
        ({"hours": "22:00-06:00"}, 23 * 3600.0, True),
        ({"hours": "22:00-06:00"}, 5 * 3600.0, True),
        ({"hours": "22:00-06:00"}, 12 * 3600.0, False),
        ({"hours": "22:00-24:00"}, 86_399.0, True),
    ],
)
def test_time_windows(window: dict[str, Any], now: float, holds: bool) -> None:
    assert bool(run({"rules": [window]}, facts(), now=now).upstream) is holds


STAFF = {"rules": [{"claim": "employee", "upstream": "staff"}, {"name": "others", "deny": 404}]}


def test_a_staff_route_does_not_exist_for_others() -> None:
    assert run(STAFF, facts(KIM)).upstream == "staff"
    for asked in (facts(LEE), facts()):
        verdict = run(STAFF, asked)
        assert (verdict.status, verdict.reason) == (404, "not_found")
        assert "canary" not in verdict.body
        assert "staff" not in verdict.body


@pytest.mark.parametrize(
    ("plan", "override"), [({"paused": True}, []), ({}, [CanaryOverride("v2", aborted=True)])]
)
def test_a_kill_switch_opens_no_staff_route(plan: dict[str, Any], override: list[CanaryOverride]) -> None:
    assert run({**STAFF, **plan}, facts(LEE), *override).status == 404
    staff = run({**STAFF, **plan}, facts(KIM), *override)
    assert (staff.status, staff.upstream, staff.arm) == (None, "", "v2=control")


@pytest.mark.parametrize("plan", [{"percent": 100}, {"users": ["kim"]}, {"rules": [{}]}])
def test_the_plans_own_kill_switch(plan: dict[str, Any]) -> None:
    verdict = run({**plan, "paused": True}, facts(KIM))
    assert (verdict.arm, verdict.reason, verdict.upstream) == ("v2=control", "canary_paused", "")


def test_the_first_rule_that_holds_decides_and_other_targets_are_other_arms() -> None:
    rules = [
        {"name": "out", "users": ["lee"], "control": True},
        {"name": "test", "cidrs": ["203.0.113.0/24"], "upstream": "test"},
        {"claim": "employee"},
    ]
    found = [
        run({"rules": rules, "percent": 100}, asked)
        for asked in (facts(LEE), facts(KIM), facts(KIM, "10.0.0.1"))
    ]
    assert [(v.arm, v.upstream, v.reason) for v in found] == [
        ("v2=control", "", "canary_user"),
        ("v2=test", "test", "canary_cidr"),
        ("v2=canary", "v2", "canary_claim"),
    ]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"rules": [{"header": "X-Beta"}]}, r"^rules\[0\]: header: .*clients_may_choose"),
        ({"rules": [{"cookie": "beta"}]}, r"^rules\[0\]: cookie: .*clients_may_choose"),
        ({"rules": [{"header": "a b", **CHOICE}]}, r"^rules\[0\]: header: "),
        ({"rules": [{}, {"deny": 500}]}, r"^rules\[1\]: deny: "),
        ({"rules": [{"deny": 418}]}, r"^rules\[0\]: deny: "),
        ({"rules": [{"deny": 404, "control": True}]}, r"^rules\[0\]: deny: .*one target"),
        ({"rules": [{"values": ["x"]}]}, r"^rules\[0\]: values: "),
        ({"rules": [{"from": "soon"}]}, r"^rules\[0\]: from: "),
        ({"rules": [{"from": "2030-01-02", "until": "2030-01-01"}]}, r"^rules\[0\]: until: "),
        ({"rules": [{"hours": "25:00-26:00"}]}, r"^rules\[0\]: hours: "),
        ({"rules": [{"hours": "05:00-05:00"}]}, r"^rules\[0\]: hours: "),
        ({"rules": [{"name": "canary"}]}, r"^rules\[0\]: name: "),
        ({"rules": [{"name": "a"}, {"name": "a"}]}, "^rules: two"),
        ({"rules": [{"usrs": []}]}, r"^rules\[0\]: usrs: unknown"),
        ({"rules": [{"cidrs": ["10.0.0.1/8"]}]}, r"^rules\[0\]: cidrs\[0\]: "),
        ({"rules": [{"percent": 101}]}, r"^rules\[0\]: percent: "),
        ({"rules": "x"}, "^rules: "),
        ({"upstream": None, "percent": 5}, "^upstream: "),
        ({"upstream": None, "rules": [{"users": ["a"]}]}, "^upstream: "),
        ({"device_cookie": "a b"}, "^device_cookie: "),
        ({"ramp": {"to": 50, "over": "2h", "start": "x"}}, "^ramp: start: "),
        ({"ramp": {"to": 50, "over": "2", "start": "2030-01-01"}}, "^ramp: over: "),
        ({"ramp": {"over": "2h", "start": "2030-01-01"}}, "^ramp: to: "),
        ({"ramp": {"to": 5, "over": "2h", "start": "2030-01-01", "hold": ["9%:1h"]}}, r"^ramp: hold\[0\]: "),
        ({"ramp": {"to": 5, "over": "2h", "start": "2030-01-01"}, "percent": 1}, "^ramp: .*not both"),
        ({"abort_if": {"latency_ratio": 0.5}}, "^abort_if: latency_ratio: "),
        ({"abort_if": {"window": "1s"}}, "^abort_if: window: "),
        ({"abort_if": {"erors": 5}}, "^abort_if: erors: unknown"),
    ],
)
def test_bad_config_names_the_field(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse({"name": "v2", "upstream": "v2", **raw})


def test_what_the_rest_of_the_system_must_know_of_a_config() -> None:
    raw = {"name": "v2", "rules": [
        {"upstream": "a", "header": "X-Beta", **CHOICE}, {"deny": 404, "users_list": "l"},
    ]}  # fmt: skip
    assert upstreams(raw) == {("rules", 0, "upstream"): "a"}
    assert upstreams({"upstream": "u", "rules": "x"}) == {("upstream",): "u"}
    assert header_names(raw) == {"x-beta"}
    assert parse(raw).list_names == ("l",)


# ramps

RAMP = {"from": 1, "to": 50, "start": "1970-01-01T00:10Z", "over": "2h", "hold": ["10%:30m"]}
POINTS = make_points(1, 50, 7200, ["10%:30m"])


@pytest.mark.parametrize(
    ("now", "override", "buckets"),
    [
        (599, None, 0),
        (600, None, 100),
        (600 + 7200 + 1800, None, 5000),
        (9e9, {"percent": 3.0}, 300),
        (9e9, {"ramp": {"points": POINTS, "start": 9e9}}, 100),
        (9e9, {"ramp": {"points": POINTS, "start": 0.0}, "percent": 3.0}, 5000),
        (9e9, {"ramp": {"points": POINTS, "start": 0.0, "held": 0.0}}, 100),
        (9e9, {"ramp": {"points": POINTS, "start": 0.0, "late": 9e9}}, 100),
        (9e9, {"ramp": {"held": 600.0}}, 100),
        (9e9, {"ramp": {"held": 600.0, "late": 1.0}}, 0),
        (700, {"ramp": {"late": 100.0}}, 100),
    ],
)
def test_the_percent_of_a_moment(now: float, override: dict[str, Any] | None, buckets: int) -> None:
    config = parse({"name": "v2", "upstream": "v2", "ramp": RAMP})
    found = CanaryOverride("v2", **override) if override is not None else None
    assert limit_at(config, found, now) == buckets


def test_a_ramp_only_adds_users_even_when_it_is_paused_and_resumed() -> None:
    users = [facts(Identity("i", f"u{n}")) for n in range(400)]
    data: dict[str, Any] | None = None
    chosen: set[int] = set()
    for now in range(0, 12_000, 500):
        if now == 2000:
            data = held(data, now)
        if now == 4000:
            data = resumed(data, now)
        overrides = [] if data is None else [CanaryOverride("v2", ramp=data)]
        found = {n for n, one in enumerate(users) if run({"ramp": RAMP}, one, *overrides, now=now).upstream}
        assert chosen <= found
        if 2000 < now <= 4000:
            assert chosen == found, "it stands still"
        chosen = found
    assert 150 < len(chosen) < 250


# the device cookie

DEVICE = {"device_cookie": "kgate_device", "percent": 50}


def cookie_of(verdict: Verdict) -> str:
    assert [name for name, _ in verdict.headers] == ["Set-Cookie"]
    return verdict.headers[0][1].partition(";")[0]


def test_a_device_gets_a_signed_cookie_and_keeps_its_arm() -> None:
    arms = set()
    for n in range(40):
        first = run(DEVICE, facts()._replace(request_id=f"r{n}"))
        again = run(DEVICE, facts(cookie=f"a=b; {cookie_of(first)}"))
        assert again.arm == first.arm
        assert again.headers == ()
        arms.add(first.arm)
    assert arms == {"v2=canary", "v2=control"}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_flags_of_the_cookie(scheme: str) -> None:
    header = run(DEVICE, facts(scheme=scheme)).headers[0][1]
    assert "; HttpOnly; SameSite=Lax" in header
    assert ("; Secure" in header) is (scheme == "https")


def test_without_the_field_nobody_gets_a_cookie_and_a_user_needs_none() -> None:
    assert run({"percent": 50}, facts()).headers == ()
    assert run({"percent": 100}, facts()).arm == "v2=control"
    assert run(DEVICE, facts(KIM)).headers == ()
    assert run(DEVICE, facts(KIM)).arm == run({"percent": 50}, facts(KIM)).arm


def test_only_what_the_server_has_signed_counts() -> None:
    (key,) = TRUST.device_keys(0)
    name = device.new(facts(), key)
    good = device.set_cookie("d", name, key, False).partition(";")[0]
    assert device.read(good, "d", [b"other" * 5, key]) == name
    other = device.new(facts()._replace(request_id="r2"), key)
    for bad in (
        good.replace(name, other), good[:-1] + "!", good + "x", good.replace("=1.", "=2."), f"{good}; {good}",
        "d=", "d=1.2.3", good.replace("d=", "e="), "d=1." + "é" * 45, "",
    ):  # fmt: skip
        assert device.read(bad, "d", [key]) == "", bad
    assert device.read(good, "d", [b"other" * 5]) == ""


def test_servers_that_share_the_passport_key_share_the_devices() -> None:
    key = make_key("EdDSA")
    one, two = Keyring(key), Keyring(key, "other-kid")
    assert one.derived(b"device") == two.derived(b"device") != Keyring(make_key("EdDSA")).derived(b"device")
