"""What abuse-guard does on its own, from the first request to the answer and to what operators see of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.abuse_gateway import AbuseGateway, Person
from tests.e2e.client import undisturbed
from tests.e2e.gateway import token, wait_until
from tests.e2e.limit_runs import for_seconds


@pytest.fixture
def redis_comes_back(guarded: AbuseGateway) -> Iterator[AbuseGateway]:
    """Redis may be killed here; afterwards it is there and followed."""
    yield guarded
    assert guarded.redis is not None
    guarded.redis.kill()
    guarded.redis.start()
    guarded.kgate("block", "add", "192.0.2.98", "--ttl", "5m")
    wait_until(lambda: guarded.metric("kgate_degraded") == 0, 10, "the state is followed again")
    guarded.kgate("block", "rm", "192.0.2.98")


def scan(who: Person, first: int, last: int) -> None:
    for number in range(first, last):
        assert who(f"/scan/{number}/status/404").status in (404, 403)


def is_blocked(who: Person) -> bool:
    return who("/scan/echo").reason == "ip_blocked"


def events(guarded: AbuseGateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(guarded.kgate("events", "list", "--output", "json").stdout)
    return found


# outcomes of the front server


def test_the_front_server_s_401_counts(guarded: AbuseGateway, person: Person) -> None:
    other = guarded.person()
    for _ in range(10):
        answer = person("/shop/login/status/401", "POST")
        assert answer.status in (401, 403)
        if answer.status == 401:
            assert answer.reason is None, "it is the front server's own"
        other("/shop/menu/status/401")  # no login: it counts for nothing
    wait_until(lambda: person("/shop/echo").reason == "ip_blocked", 3, "the block")
    assert person("/calm/echo").status == 403, "on every route with abuse-guard"
    assert other("/shop/echo").status == 200
    (made,) = [one for one in events(guarded) if one["kind"] == "block.add" and person.ip in one["subject"]]
    assert "credential-stuffing" in made["reason"]


def test_well_answered_logins_make_up_for_failed_ones(guarded: AbuseGateway, person: Person) -> None:
    for _ in range(8):
        assert person("/shop/login/status/401", "POST").status == 401
        for _ in range(4):
            assert person("/shop/login/echo", "POST").status == 200
    assert person("/shop/echo").status == 200


# one token in many networks


def test_a_token_in_many_networks_is_blocked_and_its_user_is_not(guarded: AbuseGateway) -> None:
    stolen, own = token("walter", jti="e2e-stolen"), token("walter", jti="e2e-own")
    people = [guarded.person(network) for network in range(8)]
    for one in people:
        assert one("/shared/echo", token=stolen).status in (200, 403)
    wait_until(lambda: people[0]("/shared/echo", token=stolen).reason == "token_blocked", 3, "the block")
    assert people[0]("/shared/echo", token=own).status == 200, "another token of his"
    neighbours = [guarded.person(20) for _ in range(8)]
    for _ in range(2):
        for one in neighbours:
            assert one("/shared/echo", token=own).status == 200, "one network, however many addresses"


# slowed down


def test_a_scenario_s_limit_slows_down_and_does_not_block(guarded: AbuseGateway, person: Person) -> None:
    other = guarded.person()
    for _ in range(6):
        assert person("/slow/echo").status == 200
    # 5 at once are left, and then one in 100 s
    wait_until(lambda: person("/slow/echo").status == 429, 3, "the limit")
    answer = person("/calm/echo")
    assert (answer.status, answer.reason) == (429, "scenario_limited")
    assert 90 <= int(answer.headers["retry-after"]) <= 100
    assert other("/slow/echo").status == 200
    kinds = {one["kind"] for one in events(guarded) if person.ip in one["subject"]}
    assert {"mark.set", "abuse.found"} <= kinds
    assert "block.add" not in kinds


# a refusal, everywhere


@pytest.mark.parametrize(("status", "reason"), [(429, "rate_limited"), (403, "ip_blocked")])
def test_a_refusal_is_told_everywhere_by_one_reason(
    guarded: AbuseGateway, person: Person, status: int, reason: str
) -> None:
    path = f"/told/{person.ip}/echo"

    def counted() -> float:
        return guarded.metric("kgate_requests_total", plugin="abuse-guard", reason=reason)

    before = counted()
    if reason == "ip_blocked":
        guarded.kgate("block", "add", person.ip, "--ttl", "5m", "--reason", "test")
    wait_until(lambda: person(path).status == status, 3, "a refusal")
    answer = person(path)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status, answer.reason, answer.json["status"]) == (status, reason, status), "in the body"
    wait_until(
        lambda: [one.get("reason") for one in guarded.logged(path)][-2:] == [reason] * 2,
        3,
        "in Kong's log",
    )
    wait_until(lambda: counted() == before + 2, 5, "in the metrics")
    about = {"kind": "abuse.refused", "subject": f"ip {person.ip}"}
    wait_until(
        lambda: any(about.items() <= one.items() and reason in one["reason"] for one in events(guarded)),
        5,
        "in the events",
    )
    (line,) = [one for one in guarded.log("server").splitlines() if f"ip {person.ip}" in one]
    assert f"abuse.refused ip {person.ip}: {reason}: 2 requests" in line, "in the server's log"
    word = json.loads(guarded.kgate("explain", reason, "--output", "json").stdout)
    assert (word["reason"], word["status"], word["plugin"]) == (reason, status, "abuse-guard")


# limits over four workers


@pytest.mark.parametrize("path", ["/steady/echo", "/steady-strict/echo"])
def test_four_workers_admit_burst_and_rate_within_2_percent(
    guarded: AbuseGateway, person: Person, path: str
) -> None:
    wait_until(lambda: len(guarded.server_workers()) == 4, 30, "the workers")
    # no more over any time, and no less while somebody waits: nobody asked for 1.5 s would fill the bucket again
    run = for_seconds([lambda: person(path, once=True)], 1.6)
    assert run.admitted <= 1.02 * (60 + 40 * run.most)
    assert run.admitted + run.lost >= 0.98 * (60 + 40 * run.least) - 1
    assert run.least > 1


# Redis is away


def test_without_redis_from_the_start_a_scanner_is_blocked(
    redis_comes_back: AbuseGateway, person: Person
) -> None:
    guarded, other = redis_comes_back, redis_comes_back.person()
    assert guarded.redis is not None
    guarded.redis.kill()
    guarded.restart_server()
    scan(person, 0, 12)
    wait_until(lambda: is_blocked(person), 3, "the block, by the node alone")
    assert person("/calm/echo").reason == "ip_blocked", "on every route"
    assert other("/scan/echo").status == 200
    guarded.redis.start()

    def listed() -> bool:
        return person.ip in guarded.kgate("block", "list", "--output", "json").stdout

    wait_until(listed, 15, "what was found without Redis is written when it is there")
    answers = [person("/scan/echo") for _ in range(12)]
    assert {(one.status, one.reason) for one in answers} == {(403, "ip_blocked")}, "for all workers"


def test_redis_is_killed_in_the_middle_of_a_scan(redis_comes_back: AbuseGateway, person: Person) -> None:
    guarded, other = redis_comes_back, redis_comes_back.person()
    assert guarded.redis is not None
    scan(person, 0, 5)
    guarded.redis.kill()
    scan(person, 5, 12)
    wait_until(lambda: is_blocked(person), 3, "what was counted before counts")
    assert other("/scan/echo").status == 200


@pytest.mark.parametrize("path", ["/local/echo", "/exact/echo"])
def test_redis_is_killed_in_the_middle_of_a_burst(redis_comes_back: AbuseGateway, path: str) -> None:
    """Of 20: local-first ones do not ask Redis; the count of the node decides for a strict one."""
    guarded = redis_comes_back
    assert guarded.redis is not None

    def burst() -> list[int]:
        who = guarded.person()
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(lambda: who(path).status) for _ in range(60)]
            sent[8].result(30)
            guarded.redis.kill()  # type: ignore[union-attr]
            found = [each.result(30) for each in sent]
        guarded.redis.start()  # type: ignore[union-attr]
        return found

    client = guarded.client
    found = undisturbed(client, burst)
    assert (found.count(200), found.count(429)) == (20, 40)
