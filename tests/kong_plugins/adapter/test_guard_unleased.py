"""The guard with leases: which verdicts have none, and what wins over one."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.server.leases import beat_of
from kong_plugins.server.told import numbered_frame

from .linked import FOUR, Linked, given, reason_of

EPOCH = 7


@pytest.fixture
def gateway(make_world: Any) -> Linked:
    return Linked(make_world("express"), FOUR)


def plan_of(gateway: Linked) -> Any:
    return gateway.world.run("return ngx.ctx.kgate.plan")


def open_breaker(gateway: Linked) -> None:
    breaker = gateway.world.module("kgate.guard").breaker
    for _ in range(2):
        breaker[b"miss"](breaker, gateway.now, gateway.now)


def raw(gateway: Linked, **fields: Any) -> None:
    """Each answer is told anew, with a lease."""

    verdict = gateway.verdict(d=1, l=[5000, EPOCH], rs="raw")

    def reply(message: list[Any]) -> bytes:
        wire = {**verdict, "n": message[2][1], **fields}
        wire = {key: value for key, value in wire.items() if value is not None}
        return beat_of(EPOCH) + numbered_frame(wire, message[3])

    gateway.reply = reply


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"st": 403, "b": "no"}, 403),
        ({"st": 200, "b": "keys"}, 200),
        ({"e": "no_state"}, 503),
        ({"n": "1" * 32}, 503),
        ({"ch": "f" * 32}, 503),
        ({"ch": None}, 503),
        ({"v": 2}, 503),
        ({"s": ["odd"]}, 503),
        ({"st": 1}, 503),
        ({"d": None}, 200),
        ({"d": 1 << 20}, 200),
        ({"x": {"m": "own"}}, 200),
        ({"x": {"s": ["odd"]}}, 503),
        ({"l": None}, 200),
        ({"l": [5000]}, 200),
        ({"l": [-1, EPOCH]}, 200),
        ({"l": [5000, EPOCH + 1]}, 200),
        ({"l": "5000"}, 200),
    ],
    ids=str,
)
def test_only_a_sound_verdict_that_passes_is_leased(
    gateway: Linked, fields: dict[str, Any], status: int
) -> None:
    raw(gateway, **fields)
    for count in (1, 2, 3):
        assert gateway.ask()[0] == status
        assert len(gateway.asked) == (count if fields else 1)


def test_the_answer_to_a_question_alone_is_not_leased(gateway: Linked) -> None:
    """There is no connection by which it could be taken back."""
    gateway.threads[b"refuse"] = b"connection refused"
    gateway.alone = gateway.verdict(n="0" * 32, d=1, l=[5000, EPOCH])
    for count in (1, 2):
        assert gateway.ask()[0] == 200
        assert len(gateway.asked_alone) == count


def test_configs_that_the_server_asks_for_go_to_the_process_that_asks(gateway: Linked) -> None:
    """On a connection of their own they would reach another process, or none where that one knows them: each request
    would be asked for twice, and none leased."""
    verdict = gateway.verdict(d=1, l=[5000, EPOCH], rs="raw")

    def reply(message: list[Any]) -> bytes:
        wire = {**verdict, "n": message[2][1]} if len(message) > 4 else {"e": "config"}
        return beat_of(EPOCH) + numbered_frame(wire, message[3])

    gateway.reply = reply
    for _ in range(3):
        assert gateway.ask()[0] == 200
    without, full = gateway.asked
    assert (len(without), full[:3]) == (4, without[:3])
    assert full[4][::2] == FOUR
    assert gateway.asked_alone == []


def test_a_server_that_asks_for_configs_again_is_asked_alone(gateway: Linked) -> None:
    raw(gateway, e="config")
    gateway.alone = gateway.verdict(n="0" * 32, d=1, l=[5000, EPOCH])
    assert gateway.ask()[0] == 200
    assert (len(gateway.asked), len(gateway.asked_alone)) == (2, 1)


def test_configs_that_kong_changes_in_place_have_no_leases(gateway: Linked) -> None:
    """Vault references: nobody tells when."""
    gateway.confs[b"passport"][b"$refs"] = gateway.world.table({"secret": "{vault://env/x}"})
    for count in (1, 2, 3):
        gateway.ask()
        assert len(gateway.asked) == count


def test_an_unguarded_request_has_no_lease(gateway: Linked) -> None:
    gateway.ask()
    gateway.world.run("require('kong.plugins.kgate.internals').has_guard = function() return false end")
    assert reason_of(gateway.ask()[1]) == "unguarded"


def test_headers_that_could_not_be_stripped_have_no_lease(gateway: Linked) -> None:
    gateway.ask()
    gateway.world.run("require('kong.plugins.kgate.strip').run = function() error('broken') end")
    assert reason_of(gateway.ask()[1]) == "adapter_error"


@pytest.mark.parametrize("reason", ["unprotected", "unreadable"])
def test_a_route_that_must_not_be_served_has_no_lease(gateway: Linked, reason: str) -> None:
    gateway.ask()
    plan_of(gateway)[b"deny"] = reason.encode()
    assert reason_of(gateway.ask()[1]) == reason
    assert gateway.reached == 1


def test_plugins_that_did_not_register_are_missed_with_a_lease_too(gateway: Linked) -> None:
    gateway.ask()
    gateway.world.run("require('kong.plugins.passport.handler').access = function() end")
    assert reason_of(gateway.ask()[1]) == "no_verdict"


def test_they_stop_registering_with_the_first_answer(gateway: Linked) -> None:
    handler = gateway.world.module("kgate.handler")._table
    handler[b"configure"](handler, gateway.world.table([{"socket": "/s"}]))
    for _ in range(3):
        assert gateway.ask()[0] == 200
    assert gateway.world.module("passport.handler")._table[b"access"] is None
    assert len(gateway.asked) == 1


def test_a_breaker_that_is_open_is_for_those_who_ask(gateway: Linked) -> None:
    gateway.ask()
    open_breaker(gateway)
    assert gateway.ask()[0] == 200
    assert reason_of(gateway.ask("Bearer y")[1]) == "breaker_open"
    assert len(gateway.asked) == 1
    assert gateway.outcomes()[-1].ip == "192.0.2.1"
    gateway.leases.change()
    gateway.settle()
    assert reason_of(gateway.ask()[1]) == "breaker_open", "a lease closes it not"


def test_fail_open_goes_on_with_the_lease_and_without_it_degraded(make_world: Any) -> None:
    gateway = Linked(make_world("express"), FOUR, fail="open")
    gateway.ask()
    open_breaker(gateway)
    assert gateway.ask()[0] == 200
    assert given(gateway) == {"X-Passport": "eyJ Bearer x"}
    assert "x-kgate-degraded" not in gateway.response_headers
    gateway.leases.change()
    gateway.settle()
    assert gateway.ask()[0] == 200
    assert given(gateway) == {}
    assert gateway.response_headers["x-kgate-degraded"] == "breaker_open"


def test_a_header_that_kong_refuses_is_a_503_with_a_lease_too(gateway: Linked) -> None:
    gateway.ask()
    gateway.world.fake[b"refuse_headers"] = True
    assert reason_of(gateway.ask()[1]) == "adapter_error"


def test_passports_are_redacted_with_a_lease_too(gateway: Linked) -> None:
    for _ in range(2):
        gateway.ask()
        entries = gateway.world.py(gateway.world.fake[b"serialize"])
        assert ["request.headers.x-passport", "REDACTED", "replace"] in entries
