"""Leases: nobody gets a verdict that is over because nobody was asked."""

from __future__ import annotations

import time
from collections.abc import Callable

import jwt
import pytest

from tests.e2e.gateway import ISSUER, steady, wait_until
from tests.e2e.lease_gateway import LeaseGateway
from tests.e2e.loops import FLAG_LATE, LATE, ON_SECONDS, Loop, Person, Sample, closes, late, measured, warm
from tests.pace import TIGHT

REVOKE = ["passport", "revoke", "--issuer", ISSUER["iss"], "--ttl", "5m"]
PERCENT = ["canary", "set", "all", "--percent", "100", "--new"]
Command = Callable[[Person], list[str]]
COMMANDS: dict[str, tuple[str, Command, list[str], str]] = {
    "ip": ("/all", lambda who: ["block", "add", who.address, "--ttl", "5m"], [], "ip_blocked"),
    "user": (
        "/all", lambda who: ["block", "add", f"user:{ISSUER['iss']}|{who.name}", "--ttl", "5m"], [], "user_blocked",
    ),
    "agent": ("/all", lambda who: ["block", "add", f"agent:{who.agent}", "--ttl", "5m"], [], "agent_blocked"),
    "token": ("/all", lambda who: [*REVOKE, "--token-id", who.token_id], [], "token_revoked"),
    "subject": ("/one", lambda who: [*REVOKE, "--subject", who.name], [], "subject_revoked"),
    "canary": ("/all", lambda _: PERCENT, ["canary", "set", "all", "--reset"], "canary"),
    "abort": ("/full", lambda _: ["canary", "abort", "full", "--new"], ["canary", "set", "full", "--reset"], "main"),
    "fallback": (
        "/all", lambda _: ["fallback", "force", "service:all", "--ttl", "5m"],
        ["fallback", "clear", "service:all"], "empty; reason=forced",
    ),
    "breaker": (
        "/one", lambda _: ["breaker", "open", "route:one", "--ttl", "5m"],
        ["breaker", "reset", "route:one"], "empty; reason=open",
    ),
}  # fmt: skip
"""Path, command, what takes it back, and what is new in an answer: reason, fallback or server."""


@pytest.mark.parametrize("name", COMMANDS)
def test_no_request_gets_the_old_verdict_after_an_operator_s_command(given: LeaseGateway, name: str) -> None:
    path, command, back, new = COMMANDS[name]

    def try_it() -> float:
        who = given.person()
        with Loop(who, f"{path}/echo") as loop:
            warm(given, loop)
            old = loop.samples[-1].told
            assert (old[0], new in old) == (200, False), old
            given.kgate(*command(who))
            end = time.monotonic()
            try:
                time.sleep(LATE + ON_SECONDS)
                over = time.monotonic()
            finally:
                if back:
                    given.kgate(*back)
        held = [each for each in loop.since(end + LATE) if each.ended < over]
        assert any(new in each.told for each in held), "the command did nothing"
        assert all(new in each.told or each.told == old for each in held), held[-1]
        return late(loop, end, lambda each: each.told == old and each.ended < over)

    measured(given, try_it, LATE)


def test_each_request_counts_once_whether_it_was_asked_for_or_not(given: LeaseGateway) -> None:
    def read() -> tuple[float, ...]:
        return (given.metric("kgate_requests_total", route="two"), given.metric("kgate_outcomes_total", route="two"),
                given.leased())  # fmt: skip

    people = [given.person() for _ in range(4)]
    before = read()
    for _ in range(60):
        for who in people:
            assert who("/two/echo").status == 200
    wait_until(lambda: read()[1] >= before[1] + 240, 5, "all outcomes are told")
    steady(lambda: sum(read()))
    decided, told, leased = (after - was for after, was in zip(read(), before, strict=True))
    assert (decided, told) == (240, 240)
    assert 120 < leased < 240, "some ask until the verdict lasts"


def test_without_a_user_each_request_is_asked_for(given: LeaseGateway) -> None:
    before, who = steady(given.leased), given.person()
    for _ in range(40):
        assert who("/guarded/echo").status == 200
    assert steady(given.leased) == before


def opens(given: LeaseGateway, path: str, who: Person) -> float:
    """How late a leased request passed after somebody who is always asked for was told that the breaker is open."""
    with (
        Loop(who, f"{path}/echo") as leased,
        Loop(given.person(), f"{path}/echo", True, pause=0.005) as asked,
    ):
        warm(given, leased)
        with Loop(given.person(), f"{path}/status/503", True, pause=0.005):
            wait_until(lambda: "open" in asked.samples[-1].fallback, 10, "the breaker opens")
        time.sleep(FLAG_LATE + ON_SECONDS)
    opened = next(each.ended for each in asked.samples if "open" in each.fallback)
    assert any("open" in each.fallback for each in leased.since(opened))
    return late(leased, opened, lambda each: each.fallback == "" and each.begun < opened + 3)


def test_a_breaker_that_opens_by_itself_ends_leases(given: LeaseGateway) -> None:
    def try_it() -> float:
        who = given.person()
        closes("/broken/echo", who)
        return opens(given, "/broken", who)

    measured(given, try_it, FLAG_LATE)


def test_a_breaker_ends_the_leases_of_its_service_also_where_another_one_has_the_same_plugins(
    given: LeaseGateway,
) -> None:
    """/one and /two have the same configs: their verdicts on a user are the same object, with other breakers."""

    def try_it() -> float:
        who = given.person()
        closes("/two/echo", who)
        with Loop(who, "/one/echo", pause=0.005) as first:
            warm(given, first)
            found = opens(given, "/two", who_else(given, who))
        assert {each.fallback for each in first.samples} == {""}
        return found

    measured(given, try_it, FLAG_LATE)


def who_else(given: LeaseGateway, who: Person) -> Person:
    """The same person on a connection of its own."""
    twin = given.person()
    twin.name, twin.address, twin.agent, twin.token = who.name, who.address, who.agent, who.token
    return twin


def test_a_new_config_of_a_route_counts_at_once(given: LeaseGateway) -> None:
    def audience(each: Sample) -> str:
        claims = jwt.decode(each.passport, options={"verify_signature": False}) if each.passport else {}
        return str(claims.get("aud", ""))

    who = given.person()
    with Loop(who, "/changing/echo") as loop:
        warm(given, loop)
        given.audience = "other"
        given.push(given.config())
        end = time.monotonic()
        time.sleep(1 + ON_SECONDS)
    assert audience(loop.samples[0]) == "kgate"
    # Kong's other worker may take it later
    assert {audience(each) for each in loop.since(end + (0.3 if TIGHT else 1))} == {"other"}


def test_an_issuer_s_key_that_is_gone_ends_its_leases(given: LeaseGateway) -> None:
    before = dict(given.auth.keys)
    who = given.person()
    try:
        with Loop(who, "/all/echo") as loop:
            warm(given, loop)
            given.auth.rotate("k2")
            rotated = time.monotonic()
            wait_until(lambda: loop.samples[-1].status == 401, 8, "it is refused")
            time.sleep(ON_SECONDS)
        # keys are fetched each second, by each process of the server
        assert {each.status for each in loop.since(rotated + 3)} <= {401}
    finally:
        given.auth.keys = before
        wait_until(lambda: all(given.person()("/all/echo").status == 200 for _ in range(6)), 10, "it is back")


def test_a_retired_key_signs_for_nobody_any_more(given: LeaseGateway) -> None:
    def kid(each: Sample) -> str:
        return str(jwt.get_unverified_header(each.passport)["kid"])

    who = given.person()
    with Loop(who, "/all/echo") as loop:
        warm(given, loop)
        old = kid(loop.samples[-1])
        given.keys("rotate", "--publish-for", "0s")
        time.sleep(0.3)
        given.keys("retire", old)
        end = time.monotonic()
        time.sleep(LATE + ON_SECONDS)
    after = [kid(each) for each in loop.since(end + LATE + 0.1) if each.status == 200]
    assert after
    assert old not in after


def test_a_token_that_expires_is_refused_as_without_leases(given: LeaseGateway) -> None:
    now = time.time()
    who = given.person(exp=now + 3 - 30)  # leeway
    with Loop(who, "/all/echo") as loop:
        before = given.leased()
        wait_until(lambda: loop.samples and loop.samples[-1].status == 401, 8, "it is refused")
        refused = next(each for each in loop.samples if each.status == 401)
        time.sleep(0.3)
    assert refused.begun - loop.samples[0].begun > 1
    moment = time.time() - time.monotonic() + refused.begun
    assert moment <= now + 4
    assert {each.status for each in loop.since(refused.begun)} == {401}
    assert given.leased() >= before
