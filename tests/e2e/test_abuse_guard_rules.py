"""What limits and scenarios count, through the gateway: costs, keys, forged tokens, User-Agents, what only tells."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import jwt
import pytest

from tests.e2e.abuse_gateway import AbuseGateway, Person
from tests.e2e.client import undisturbed
from tests.e2e.gateway import ISSUER, token, wait_until

USERS = (f"e2e-user-{number}" for number in count())


def events(guarded: AbuseGateway, kind: str) -> list[dict[str, Any]]:
    found = guarded.kgate("events", "list", "--kind", kind, "--count", "200", "--output", "json").stdout
    return list(json.loads(found))


# limits


def test_what_a_request_counts_is_said_by_route(guarded: AbuseGateway) -> None:
    def send() -> list[int]:
        who = guarded.person()
        paths = [
            "/dear/echo",
            *["/cheap/echo"] * 5,
            *["/free/echo"] * 3,
            "/cheap/echo",
            "/dear/echo",
            "/free/echo",
        ]
        return [who(path).status for path in paths]

    assert undisturbed(guarded.client, send) == [200] * 9 + [429] * 2 + [200]


def test_a_limit_by_header_and_route(guarded: AbuseGateway) -> None:
    devices = count()

    def send() -> list[list[int]]:
        people = [guarded.person() for _ in range(4)]
        device = f"device {next(devices)} é"  # as bytes, as it comes
        sent = [who("/gadget/echo", headers={"X-Device": device}).status for who in people]
        other = [people[0]("/gadget-too/echo", headers={"x-device": device}).status]
        without = [who("/gadget/echo").status for who in people]
        return [sent, other, without]

    # whoever leaves the header out counts by his address
    assert undisturbed(guarded.client, send) == [[200, 200, 200, 429], [200], [200] * 4]


def test_a_limit_by_user_and_address(guarded: AbuseGateway) -> None:
    def send() -> list[list[int]]:
        user, people = next(USERS), [guarded.person() for _ in range(2)]
        found = [[who("/mine/echo", token=token(user)).status for _ in range(4)] for who in people]
        return [*found, [people[0]("/mine/echo", token=token(next(USERS))).status]]

    assert undisturbed(guarded.client, send) == [[200] * 3 + [429], [200] * 3 + [429], [200]]


@pytest.mark.parametrize(
    ("key", "reason"),
    [("another secret of at least thirty-two bytes", "bad_signature"), ("", "algorithm_not_allowed")],
    ids=["forged", "none"],
)
def test_forged_tokens_that_name_alice_use_up_nothing_of_hers(
    guarded: AbuseGateway, key: str, reason: str
) -> None:
    claims = {**ISSUER, "exp": 4_000_000_000, "iat": 1}

    def send() -> tuple[set[Any], list[int]]:
        alice = next(USERS)
        forged = jwt.encode(
            {**claims, "sub": alice}, key, "HS256" if key else "none", headers={"kid": "test"}
        )
        refused = {guarded.person()("/alices/echo", token=forged).reason for _ in range(50)}
        return refused, [guarded.person()("/alices/echo", token=token(alice)).status for _ in range(4)]

    refused, hers = undisturbed(guarded.client, send)
    assert hers == [200] * 3 + [429]
    assert refused == {reason}


def test_a_dry_run_refuses_nothing_and_tells(guarded: AbuseGateway, person: Person) -> None:
    answers = [person("/dry/echo") for _ in range(6)]
    assert {answer.status for answer in answers} == {200}
    assert all("e2e-dry" not in answer.headers["ratelimit"] for answer in answers)
    assert answers[0].headers["ratelimit-policy"] == '"e2e-beside";q=50;w=3600'
    wait_until(
        lambda: any("limit e2e-dry" in one["reason"] for one in events(guarded, "abuse.simulated")),
        5,
        "it is told",
    )


# scenarios


def test_a_rotating_user_agent_is_found(guarded: AbuseGateway, person: Person) -> None:
    other = guarded.person()
    for number in range(8):
        person("/agents/echo", headers={"User-Agent": f"Mozilla/5.0 ({number})"})
        assert other("/agents/echo", headers={"User-Agent": "Mozilla/5.0"}).status == 200
    wait_until(lambda: person("/agents/echo").reason == "ip_blocked", 3, "the block")
    assert other("/agents/echo", headers={"User-Agent": "Mozilla/5.0"}).status == 200


@pytest.mark.parametrize("headers", [{}, {"User-Agent": ""}])
def test_a_missing_user_agent_is_found(
    guarded: AbuseGateway, person: Person, headers: dict[str, str]
) -> None:
    for _ in range(8):
        person("/agents/echo", headers=headers)
    wait_until(lambda: person("/agents/echo").reason == "ip_blocked", 3, "the block")


@pytest.mark.parametrize(
    ("path", "method", "is_counted"),
    [
        ("/posted/in/echo", "POST", True),
        ("/posted/%69n/echo", "POST", True),
        ("/posted/x/../in/echo", "POST", True),
        ("/posted/x/%2e%2e/in//echo", "POST", True),
        ("/posted/in/echo", "GET", False),
        ("/posted/in/../out/echo", "POST", False),
        ("/posted/echo?/posted/in", "POST", False),
    ],
)
def test_a_scenario_sees_normal_paths_and_methods(
    guarded: AbuseGateway, person: Person, path: str, method: str, is_counted: bool
) -> None:
    for _ in range(6):
        person(path, method)
    if not is_counted:
        # the one who does is found after him, with all that came before
        marker = guarded.person()
        for _ in range(6):
            marker("/posted/in/echo", "POST")
        wait_until(lambda: marker("/calm/echo").status == 403, 3, "the other one's block")
        assert person("/calm/echo").status == 200
        return
    wait_until(lambda: person("/calm/echo").reason == "ip_blocked", 3, "the block")


def test_paths_that_are_nobody_s_count_where_a_route_takes_them(
    guarded: AbuseGateway, person: Person
) -> None:
    before = guarded.reached()
    for number in range(12):
        assert person(f"/nowhere/{number}").status in (404, 403)
        assert person(f"/no-route/{number}").status == 404, "Kong's own, which no plugin sees"
    wait_until(lambda: person("/nowhere/x").reason == "ip_blocked", 3, "the block")
    assert guarded.reached() == before


def test_a_trial_only_tells(guarded: AbuseGateway, person: Person) -> None:
    for _ in range(8):
        assert person("/trial/echo").status == 200
    wait_until(
        lambda: any(person.ip in one["subject"] for one in events(guarded, "abuse.simulated")),
        5,
        "it is told",
    )
    assert person("/trial/echo").status == 200


def test_an_allowed_address_in_an_imported_blocklist(guarded: AbuseGateway, person: Person) -> None:
    network = person.ip.rpartition(".")[0] + ".0/24"
    other = Person(guarded.client, person.ip.rpartition(".")[0] + ".253", guarded.is_proxied)
    file = guarded.dir / "list.txt"
    file.write_text(f"# a list\r\n{network}\r\n")
    guarded.kgate("block", "import", str(file), "--name", "e2e", "--ttl", "5m")
    try:
        wait_until(lambda: person("/calm/echo").reason == "ip_blocked", 3, "the list")
        guarded.kgate("allow", "add", person.ip, "--ttl", "5m", check=False)
        wait_until(lambda: person("/calm/echo").status == 200, 3, "the allow")
        assert other("/calm/echo").reason == "ip_blocked"
        assert '"e2e"' in guarded.kgate("block", "list", "--sets", "--output", "json").stdout
    finally:
        guarded.kgate("allow", "rm", person.ip, check=False)
        guarded.kgate("block", "rm", "--set", "e2e")
    wait_until(lambda: other("/calm/echo").status == 200, 3, "the list is gone")


# the shipped scenarios, as they are


def score(guarded: AbuseGateway, who: Person, **more: Any) -> list[str]:
    """What the front server is told of somebody; [] too when he is refused."""
    before = len(guarded.upstreams["main"].seen)
    who("/shipped/echo", **more)
    return [
        value for seen in guarded.upstreams["main"].seen[before:] for value in seen.values("X-Abuse-Score")
    ]


@pytest.mark.parametrize(
    ("path", "method", "agent", "needed"),
    [
        ("/shipped/api/login/status/401", "POST", "Mozilla/5.0", 21),  # credential-stuffing
        ("/shipped/{}/status/404", "GET", "Mozilla/5.0", 26),  # path-scan
        ("/shipped/users/{}/status/404", "GET", "Mozilla/5.0", 16),  # user-enumeration
        ("/shipped/menu/echo", "GET", "sqlmap/1.7.2#stable (https://sqlmap.org)", 4),  # bad-bots
    ],
    ids=["credential-stuffing", "path-scan", "user-enumeration", "bad-bots"],
)
def test_an_address_is_blocked_by_a_shipped_scenario(
    guarded: AbuseGateway, person: Person, path: str, method: str, agent: str, needed: int
) -> None:
    other = guarded.person()
    for number in range(needed + 3):
        person(path.format(number), method, headers={"User-Agent": agent})
        other("/shipped/menu/echo", headers={"User-Agent": "Mozilla/5.0"})
    wait_until(lambda: person("/shipped/echo").reason == "ip_blocked", 3, "the block")
    assert other("/shipped/echo").status == 200


def test_a_burst_from_one_network_blocks_the_network(guarded: AbuseGateway) -> None:
    people = [guarded.person(60) for _ in range(30)]
    for number in range(110):
        people[number % 30]("/shipped/form/status/422", "POST")
    wait_until(
        lambda: guarded.person(60)("/shipped/echo").reason == "ip_blocked", 3, "a neighbour who never asked"
    )
    assert guarded.person(61)("/shipped/echo").status == 200


def test_a_shared_token_is_blocked_by_the_shipped_scenario(guarded: AbuseGateway) -> None:
    stolen, own = token("wendy", jti="e2e-shared"), token("wendy", jti="e2e-kept")
    people = [guarded.person(network) for network in range(70, 80)]
    for one in people:
        one("/shipped/echo", token=stolen)
    wait_until(lambda: people[0]("/shipped/echo", token=stolen).reason == "token_blocked", 3, "the block")
    assert people[0]("/shipped/echo", token=own).status == 200


def test_who_hammers_coupons_is_slowed_down_and_marked(guarded: AbuseGateway) -> None:
    user, elsewhere = next(USERS), guarded.person()
    statuses = [guarded.person()("/shipped/coupon/echo", "POST", token=token(user)).status for _ in range(24)]
    assert set(statuses) == {200}, "from an address each: it is the user who is counted"
    seen: list[str] = []
    wait_until(lambda: bool(seen.extend(score(guarded, elsewhere, token=token(user))) or seen), 3, "the mark")
    assert set(seen) == {'70;reasons="coupon-hammering"'}
    wait_until(
        lambda: elsewhere("/shipped/echo", token=token(user)).reason == "scenario_limited",
        3,
        "five at once are left",
    )
    assert score(guarded, elsewhere, token=token(next(USERS))) == []
    assert elsewhere("/shipped/echo").status == 200


def test_an_error_storm_is_told_to_the_service_and_not_blocked(guarded: AbuseGateway, person: Person) -> None:
    for _ in range(45):
        assert person("/shipped/search/status/500").status == 500
    wait_until(lambda: score(guarded, person) == ['40;reasons="error-storm"'], 3, "the mark")
    assert score(guarded, guarded.person()) == []
