"""Refusals in the events: every reason id, and never a flood of events."""

import pytest

from kong_plugins.abuse_guard.analyst import Analyst
from kong_plugins.abuse_guard.refusals import MAX_ADDRESSES, MAX_KINDS, TOLD
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome

NOW = 1_700_000_000.0


def outcome(reason: str, ip: str = "203.0.113.7", route: str = "shop", memo: str = "") -> Outcome:
    return Outcome(route, "s", "t", "429", "", "1", "5", "kgate", reason, "", memo, ip)


def told(analyst: Analyst, seconds: float) -> list[Conclusion]:
    return [one for tenth in range(int(seconds * 10)) for one in analyst.tick(NOW + 1 + tenth / 10)]


@pytest.mark.parametrize("reason", sorted(TOLD))
def test_every_refusal_is_told_with_its_reason(reason: str) -> None:
    analyst = Analyst(b"s" * 16)
    assert analyst.take([outcome(reason, memo="limit=login dry=login")], NOW) == []
    (one,) = told(analyst, 1)
    assert one.kind == ("abuse.simulated" if reason == "rate_limit_dry_run" else "abuse.refused")
    assert (one.subject, one.collection) == ("ip 203.0.113.7", "")
    assert one.reason.startswith(f"{reason}: 1 requests of 1 address")
    assert one.numbers["reason"] == reason
    assert one.numbers["limit"] == "login"


def test_a_flood_is_one_event_a_minute() -> None:
    analyst = Analyst(b"s" * 16)
    found: list[Conclusion] = []
    for tenth in range(1800):
        rows = [outcome("rate_limited", f"203.0.113.{number}") for number in range(10)]
        found += analyst.take(rows, NOW + tenth / 10) + analyst.tick(NOW + tenth / 10)
    assert [one.numbers["count"] for one in found] == [110, 6000, 6000]
    assert {one.subject for one in found} == {"route shop"}
    assert found[1].numbers["addresses"] == 10


def test_what_has_ended_is_forgotten_and_told_at_once_when_it_comes_again() -> None:
    analyst = Analyst(b"s" * 16)
    analyst.take([outcome("ip_blocked")], NOW)
    assert len(told(analyst, 200)) == 1
    analyst.take([outcome("ip_blocked")], NOW + 300)
    assert len(analyst.tick(NOW + 301)) == 1


def test_the_kinds_are_bounded() -> None:
    analyst = Analyst(b"s" * 16)
    analyst.take([outcome("ip_blocked", route=f"r{number}") for number in range(MAX_KINDS + 50)], NOW)
    assert len(told(analyst, 1)) == MAX_KINDS


def test_other_outcomes_are_not_told() -> None:
    analyst = Analyst(b"s" * 16)
    analyst.take([outcome(""), outcome("token_expired")], NOW)
    assert told(analyst, 2) == []


def test_the_addresses_of_an_event_are_bounded() -> None:
    analyst = Analyst(b"s" * 16)
    rows = [
        outcome("ip_blocked", f"203.0.{number >> 8}.{number & 255}") for number in range(MAX_ADDRESSES + 9)
    ]
    analyst.take(rows, NOW)
    (one,) = told(analyst, 2)
    assert (one.numbers["count"], one.numbers["addresses"]) == (MAX_ADDRESSES + 9, MAX_ADDRESSES)


@pytest.mark.parametrize(
    ("reason", "memo", "concerns"),
    [
        ("ip_blocked", "", True),
        ("rate_limited", "limit=login", True),
        ("", "g=tag.1..", True),
        ("ok", "b=1 g=tag.1..", True),
        ("", "", False),
        ("", "b=1 lease=", False),
        ("token_expired", "", False),
        ("", "g=tag.1", False),
    ],
)
def test_what_nobody_counts_does_not_concern_the_analyst(reason: str, memo: str, concerns: bool) -> None:
    assert Analyst(b"s" * 16).concerned(outcome(reason, memo=memo)) is concerns
