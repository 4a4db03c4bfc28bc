"""The guard with leases: for whom it does not ask, and when it asks again."""

from __future__ import annotations

from typing import Any

import pytest

from kong_plugins.engine.lease import NONE, Condition, Lease
from kong_plugins.server.told import numbered_frame

from .linked import FOUR, Linked, given, reason_of

EPOCH = 7


@pytest.fixture
def gateway(make_world: Any) -> Linked:
    return Linked(make_world("express"), FOUR)


def test_the_second_request_of_a_user_is_not_asked_for(gateway: Linked) -> None:
    first = gateway.ask(path="/a")
    passport = given(gateway)
    second = gateway.ask(path="/b", raw_path="/%62")
    assert (first, second, gateway.reached) == ((200, ""), (200, ""), 2)
    assert len(gateway.asked) == 1
    assert passport == given(gateway) == {"X-Passport": "eyJ Bearer x"}
    assert gateway.world.py(gateway.world.fake[b"cleared_headers"]) == ["X-Secret"]
    assert gateway.response_headers["x-mark"] == "1"
    assert gateway.log == {"tenant": "", "verdict": "pass", "reason": "ok"}


def test_its_outcome_says_so_and_is_counted(gateway: Linked) -> None:
    gateway.ask()
    gateway.ask(vars={"remote_addr": "192.0.2.1", "upstream_status": "201"}, upstream={"status": 201})
    gateway.ask(upstream={"status": 200})
    found = gateway.outcomes()
    assert [outcome.memo for outcome in found] == ["b=1", "b=1 lease=ok", "b=1 lease=ok"]
    assert [outcome.ip for outcome in found] == ["192.0.2.1"] * 3
    assert [outcome.reason for outcome in found] == ["ok"] * 3
    assert found[1][:6] == ("route", "service", "", "201", "201", "0")
    (batch,) = gateway.batches
    assert {kind.leased: count for kind, count in batch.counts().items()} == {None: 1, "ok": 2}


def test_its_fallback_is_the_users(gateway: Linked) -> None:
    gateway.gets("Bearer x", prepared="h1", retries=3, upstream="blue", arm="blue")
    gateway.prepared = [{"on": ["502"], "st": 200, "h": ["A", "b"], "b": "prepared", "nm": "items"}]
    for _ in range(2):
        gateway.world.fake[b"retries"] = None
        assert gateway.ask(upstream={"status": 502, "error": True}) == (200, "prepared")
        assert gateway.world.py(gateway.world.fake[b"upstreams"]) == ["blue"]
        assert gateway.world.fake[b"retries"] == 3
        assert gateway.log == {"tenant": "", "verdict": "fallback", "reason": "502", "arm": "blue"}
    assert len(gateway.asked) == 1
    assert [outcome.memo for outcome in gateway.outcomes()] == ["", "lease="]


def test_users_keep_what_is_theirs(gateway: Linked) -> None:
    users = [f"Bearer {number}" for number in range(5)]
    for user in [*users, *reversed(users)]:
        assert gateway.ask(user)[0] == 200
        assert given(gateway) == {"X-Passport": f"eyJ {user}"}
    assert len(gateway.asked) == 5


TOKEN = ["Authorization", "Bearer x"]


@pytest.mark.parametrize(
    "other",
    [
        {"authorization": "Bearer y"},
        {"headers": []},
        {"headers": [TOKEN, TOKEN]},
        {"headers": [TOKEN, ["User-Agent", "curl"]]},
        {"headers": [TOKEN, ["Cookie", "a=b"]]},
        {"headers": [["Authorization", "Bearer x" + "x" * 10_000]]},
        {"method": "POST"},
        {"vars": {"remote_addr": "192.0.2.2"}},
        {"vars": {"scheme": "https"}},
        {"vars": {"host": "other"}},
    ],
    ids=str,
)
def test_others_are_asked_for(gateway: Linked, other: dict[str, Any]) -> None:
    gateway.ctx[b"plugins"][b"ws"][b"combos"][b"kgate-facts"] = None  # all headers that filters may see
    gateway.ask()
    gateway.ask(**other)
    assert len(gateway.asked) == 2
    gateway.ask(**other)
    assert len(gateway.asked) == 2, "but once"


def test_headers_that_no_filter_sees_do_not_count(gateway: Linked) -> None:
    """kgate-facts names them."""
    gateway.ask()
    gateway.ask(headers=[TOKEN, ["User-Agent", "curl"], ["traceparent", "00-1"], ["Cookie", "a=b"]])
    assert len(gateway.asked) == 1


def test_requests_that_are_traced_each_by_its_own(gateway: Linked) -> None:
    gateway.own[b"kgate-facts"][b"headers"] = gateway.world.table(["authorization", "traceparent"])
    for number in range(3):
        gateway.ask(headers=[TOKEN, ["traceparent", f"00-{number}"]])
    assert len(gateway.asked) == 1
    gateway.ask()
    assert len(gateway.asked) == 2


def test_it_lasts_while_beats_come_and_ends_with_its_time(gateway: Linked) -> None:
    gateway.ask()
    for _ in range(9):
        gateway.run(0.5)
        gateway.ask()
    assert len(gateway.asked) == 1
    gateway.run(0.51)
    gateway.ask()
    gateway.ask()
    assert len(gateway.asked) == 2, "and the next one begins"


def ends_by_change(gateway: Linked) -> None:
    gateway.leases.change()
    gateway.settle()


def ends_by_keys(gateway: Linked) -> None:
    gateway.stamp += 1
    gateway.run(0.03)


def ends_by_condition(gateway: Linked) -> None:
    gateway.holds = False
    gateway.run(0.03)


def ends_by_hang_up(gateway: Linked) -> None:
    gateway.threads[b"last"][b"hang_up"]()
    gateway.settle()


def ends_by_silence(gateway: Linked) -> None:
    gateway.is_silent = True
    gateway.run(0.13)


def ends_by_clock(gateway: Linked) -> None:
    gateway.world.fake[b"now"] -= 1


def ends_by_configuration(gateway: Linked) -> None:
    combos = gateway.ctx[b"plugins"][b"ws"][b"combos"]
    gateway.ctx[b"plugins"][b"ws"] = gateway.world.table({"combos": combos})


def ends_by_route(gateway: Linked) -> None:
    gateway.ctx[b"route"] = gateway.world.table({"id": "R", "name": "route", "tags": []})


def ends_by_service(gateway: Linked) -> None:
    gateway.ctx[b"service"] = gateway.world.table({"id": "S", "name": "service"})


ENDS = [value for name, value in sorted(globals().items()) if name.startswith("ends_by_")]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_what_ends_it(gateway: Linked, end: Any) -> None:
    gateway.lease = Lease(5.0, (Condition("breaker", lambda _state, _now: True),))
    gateway.ask()
    gateway.ask()
    assert len(gateway.asked) == 1
    end(gateway)
    assert gateway.ask()[0] == 200
    assert len(gateway.asked) == 2
    assert given(gateway) == {"X-Passport": "eyJ Bearer x"}
    assert gateway.outcomes()[-1].memo == "b=1"


def test_a_question_that_times_out_ends_those_of_its_connection(gateway: Linked) -> None:
    gateway.ask()
    gateway.reply = lambda message: b""
    assert reason_of(gateway.ask("Bearer y")[1]) == "server_away"
    gateway.reply = None
    gateway.ask()
    assert len(gateway.asked) == 3


def test_a_verdict_that_others_have_as_well_is_leased_to_each(gateway: Linked) -> None:
    """Told once, with a lease: it is the verdict's."""
    gateway.verdicts["Bearer y"] = gateway.of_user("Bearer x")
    gateway.ask("Bearer x")
    gateway.ask("Bearer y")
    assert len(gateway.asked) == 2
    gateway.ask("Bearer y")
    assert len(gateway.asked) == 2


def later(gateway: Linked) -> tuple[list[list[Any]], Any]:
    """The first question is not answered yet; and a function that answers it as the server does."""
    held: list[list[Any]] = []

    def hold(message: list[Any]) -> bytes:
        held.append(message)
        gateway.reply = None
        return b""

    def answer() -> None:
        (number, connection), *_ = gateway.connections.items()
        gateway.beats.append((number, gateway.answer(connection, held[0])))

    gateway.reply = hold
    return held, answer


def test_requests_that_wait_at_the_same_time_keep_apart(gateway: Linked) -> None:
    """What is known of one is not kept for another that was asked for in between."""
    _, answer = later(gateway)

    def others() -> None:
        assert gateway.ask("Bearer y", method="POST", vars={"remote_addr": "192.0.2.2"})[0] == 200
        assert given(gateway) == {"X-Passport": "eyJ Bearer y"}
        answer()

    gateway.meanwhile(others)
    assert gateway.ask("Bearer x")[0] == 200
    assert given(gateway) == {"X-Passport": "eyJ Bearer x"}
    for _ in range(2):
        gateway.ask("Bearer y", method="POST", vars={"remote_addr": "192.0.2.2"})
        assert given(gateway) == {"X-Passport": "eyJ Bearer y"}
        gateway.ask("Bearer x")
        assert given(gateway) == {"X-Passport": "eyJ Bearer x"}
    assert len(gateway.asked) == 2
    assert [outcome.ip for outcome in gateway.outcomes()][:2] == ["192.0.2.2", "192.0.2.1"]


@pytest.mark.parametrize("why", ["config", "closed"])
def test_a_question_that_is_asked_again_is_the_requests_own(gateway: Linked, why: str) -> None:
    held, _ = later(gateway)
    gateway.alone = gateway.verdict(n="0" * 32, s=["X-Passport", "eyJ Bearer x"])

    def others() -> None:
        assert gateway.ask("Bearer y", method="POST")[0] == 200
        if why == "config":
            gateway.beats.append((1, numbered_frame({"e": "config"}, held[0][3])))
        else:
            gateway.threads[b"last"][b"hang_up"]()

    gateway.meanwhile(others)
    assert gateway.ask("Bearer x", path="/x")[0] == 200
    assert given(gateway) == {"X-Passport": "eyJ Bearer x"}
    again = gateway.asked[2:] if why == "config" else gateway.asked_alone
    assert [message[2] for message in again] == [held[0][2]]


def test_without_a_lease_each_is_asked_for(gateway: Linked) -> None:
    gateway.lease = NONE
    for count in (1, 2, 3):
        gateway.ask()
        assert len(gateway.asked) == count
    assert [outcome.memo for outcome in gateway.outcomes()] == ["b=1"] * 3
