"""The guard where the plugin server calls the adapter's own functions: `kong.kgate.step` and `kong.kgate.verdict`.

The verdict is asked for on the connection that a worker's requests share, or, where there is none, by what
`kong.kgate.step` returns: but for what is said otherwise both are the same.
"""

from __future__ import annotations

import json

import msgpack
import pytest

from .gateway import Gateway

FOUR = ["abuse-guard", "passport", "canary-router", "static-fallback"]


@pytest.fixture(autouse=True, params=["connection", "step"])
def way(request, monkeypatch):
    monkeypatch.setattr(Gateway, "connection", request.param == "connection")
    return request.param


def request(gateway, **options):
    return gateway.request(lane="direct", **options)


def reason_of(answer):
    assert answer[0] == 503, answer
    return json.loads(answer[1])["reason"]


def warm(gateway):
    """The first request tells the worker that the server calls, and which ids the route has."""
    assert request(gateway) == (200, "")
    gateway.asked.clear()
    return gateway


@pytest.mark.parametrize("names", [FOUR[:1], FOUR[1:2], FOUR[:2], FOUR])
def test_a_verdict_of_all_lets_pass_and_the_server_decides_once(world, names):
    gateway = Gateway(world, names)
    for _ in range(2):
        assert request(gateway, fields={"s": ["X-Passport", "eyJ"], "h": ["X-Mark", "1"]}) == (200, "")
        assert world.py(world.fake[b"set_headers"]) == {"X-Passport": "eyJ"}
        assert gateway.response_headers["x-mark"] == "1"
    assert gateway.reached == 2
    assert [ids for _facts, ids in gateway.asked] == [list(range(1, len(names) + 1))] * 2


def test_what_the_server_decides_by(world):
    gateway = Gateway(world, FOUR[:2], tags=["kgate-tenant:order"])
    gateway.ids = {"abuse-guard": 2**51 + 1, "passport": 2**52 - 1}
    assert request(gateway, headers=[("Authorization", "Bearer \udcff")], path="/\udcfe")[0] == 200
    facts, ids = gateway.asked[0]
    assert ids == [2**51 + 1, 2**52 - 1], "52 bits stay exact"
    assert facts[:3] == [1, "rid1", "192.0.2.1"]
    assert facts[6] == "/\udcfe"
    assert facts[8:13] == ["route", "service", "order", "", ""]
    assert facts[13:] == ["authorization", "Bearer \udcff"]


def test_once_the_server_calls_nothing_is_left_in_the_shared_context(world):
    gateway = warm(Gateway(world, FOUR))
    request(gateway)
    assert world.py(world.run("return kong.ctx.shared")) == {}


def test_first_all_say_their_ids_then_the_first_of_them_decides(world):
    gateway = Gateway(world, FOUR)
    assert request(gateway, modes={"static-fallback": "silent"})[0] == 503, "nobody was asked"
    assert gateway.asked == []
    warm(gateway)
    assert request(gateway, modes=dict.fromkeys(FOUR[1:], "silent")) == (200, "")
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("silent", FOUR)
def test_one_of_four_that_fails_alone_is_missed_until_its_id_is_known(world, silent):
    gateway = Gateway(world, FOUR)
    assert reason_of(request(gateway, modes={silent: "silent"})) == "no_verdict"
    assert gateway.reached == 0
    warm(gateway)
    assert request(gateway, modes={silent: "silent"}) == (200, ""), "another one asks"


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"n": "another"},
        {"n": ""},
        {"s": ["odd"]},
        {"st": 99},
        {"st": 401, "n": "another"},
        {"e": "filter_error"},
        {"raw": b""},
        {"raw": b"\xc1"},
        {"raw": msgpack.packb([1])},
        {"raw": msgpack.packb("text")},
        {"raw": msgpack.packb(None)},
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_what_is_no_verdict_on_this_request(world, fields, known):
    gateway = Gateway(world, FOUR[:2])
    if known:
        warm(gateway)
    reached = gateway.reached
    assert reason_of(request(gateway, fields=fields)) == fields.get("e", "no_verdict")
    assert gateway.reached == reached


def test_without_a_shared_connection_kongs_messages_ask_for_a_while(world, monkeypatch):
    monkeypatch.setattr(Gateway, "connection", False)
    gateway = warm(Gateway(world, FOUR[:2]))

    def told():
        return sum("no shared connection" in each for each in world.py(world.fake[b"warnings"]))

    assert told() == 1
    gateway.connection = True
    gateway.lost.clear()
    modes = {"abuse-guard": "lost"}
    for _ in range(3):  # by a message, and the next plugin asks as well
        assert request(gateway, modes=modes) == (200, "")
    assert gateway.lost == []
    world.fake[b"now"] = 1001
    assert reason_of(request(gateway, modes=modes)) == "no_verdict"
    assert gateway.lost == [b"abuse-guard"]
    gateway.connection = False
    world.fake[b"now"] = 1059
    assert request(gateway) == (200, "")
    assert told() == 1
    world.fake[b"now"] = 1061
    assert request(gateway) == (200, "")
    assert told() == 2


def test_an_answer_that_is_lost_is_asked_for_again_by_the_next_plugin(world, way):
    """But where it was waited for on the common connection: nobody waits four times."""
    gateway = warm(Gateway(world, FOUR))
    if way == "connection":
        assert reason_of(request(gateway, modes={"abuse-guard": "lost"})) == "no_verdict"
        assert gateway.lost == [b"abuse-guard"]
        assert "timeout" in world.py(world.fake[b"errors"])[-1]
    else:
        assert request(gateway, modes={"abuse-guard": "lost"}) == (200, "")
        assert len(gateway.asked) == 2
    assert reason_of(request(gateway, modes=dict.fromkeys(FOUR, "lost"))) == "no_verdict"


def test_a_new_server_is_told_all_ids_again(world):
    """It has started some of the plugins anew, and does not know the others yet."""
    gateway = warm(Gateway(world, FOUR))
    assert reason_of(request(gateway, fields={"e": "ids"})) == "no_verdict"
    assert [ids for _, ids in gateway.asked] == [[1, 2, 3, 4]] * 2, "by what was known, then by what all said"
    assert request(gateway) == (200, "")


def test_of_two_requests_at_a_time_a_new_server_is_told_all_ids_by_both(world):
    """The answer to the first has had the worker forget what it knew, when that to the second comes."""
    gateway = warm(Gateway(world, FOUR))
    first = Gateway._server
    answers = [{"e": "ids"}, {}]

    def server(self, _fields):
        def decide(packed):
            said = first(self, answers.pop(0))(packed)
            if answers:
                world.run("ngx.ctx.kgate.plan.ids = nil")
            return said

        return decide

    gateway._server = lambda fields: server(gateway, fields)
    assert request(gateway) == (200, "")
    assert [ids for _, ids in gateway.asked] == [[1, 2, 3, 4]] * 2


def test_another_config_of_a_plugin_that_comes_later_closes(world):
    gateway = warm(Gateway(world, FOUR))
    gateway.ids = {"canary-router": 33}
    assert reason_of(request(gateway)) == "no_verdict"
    assert gateway.asked[0][1] == [1, 2, 3, 4]


def test_a_new_id_of_the_first_is_said_with_the_others(world):
    """Kong has started it anew, with the same configuration of the route."""
    gateway = warm(Gateway(world, FOUR[:2]))
    gateway.ids = {"abuse-guard": 11}
    for _ in range(2):
        assert request(gateway) == (200, "")
    assert [ids for _, ids in gateway.asked] == [[11, 2]] * 2


def test_an_answer_to_the_client_ends_the_request_at_once(world):
    gateway = warm(Gateway(world, FOUR))
    world.run("kong.ctx.called = nil")
    fields = {
        "st": 401,
        "b": "who?",
        "h": ["WWW-Authenticate", "Bearer"],
        "rs": "token_missing",
        "tn": "order",
    }
    assert request(gateway, fields={**fields, "m": "x=1"}) == (401, "who?")
    assert gateway.response_headers["www-authenticate"] == "Bearer"
    assert gateway.log == {"tenant": "order", "verdict": "exit", "reason": "token_missing"}
    found = gateway.outcome()
    assert (found.source, found.reason, found.memo) == ("kgate", "token_missing", "x=1")
    assert world.run("return kong.ctx.called") == b"abuse-guard "


def test_a_200_is_answered_by_the_guard(world):
    """It takes If-Match away first."""
    gateway = Gateway(world, FOUR)
    headers = [("If-Match", "x"), ("A", "b")]
    assert request(gateway, fields={"st": 200, "b": "{}", "rs": "jwks"}, headers=headers) == (200, "{}")
    assert world.py(world.fake[b"request_headers"]()) == [["A", "b"]]
    assert gateway.log["reason"] == "jwks"
    assert gateway.reached == 0


def test_an_exit_closes_the_breaker_too(world):
    gateway = Gateway(world, ["passport"])
    for _ in range(2):
        request(gateway, modes={"passport": "lost"})
    assert reason_of(request(gateway)) == "breaker_open"
    world.fake[b"now"] = 1000.5
    assert request(gateway, fields={"st": 403, "b": "no"}) == (403, "no")
    assert request(gateway) == (200, "")


def test_an_error_after_the_verdict_is_not_the_servers(world):
    """Of somebody's plugin between ours, say: whoever can cause it must not close the other routes."""
    gateway = warm(Gateway(world, FOUR))
    for _ in range(3):
        assert reason_of(request(gateway, modes={"static-fallback": "error"})) == "no_verdict"
    assert gateway.reached == 1
    assert request(gateway) == (200, "")
    for _ in range(2):
        assert reason_of(request(gateway, modes={"abuse-guard": "error"})) == "server_away"
    assert reason_of(request(gateway)) == "breaker_open"


def test_fail_open_passes_with_a_mark_and_never_against_a_refusal(world):
    gateway = warm(Gateway(world, ["passport"], fail="open"))
    assert request(gateway, modes={"passport": "lost"}) == (200, "")
    assert gateway.response_headers["x-kgate-degraded"] == "no_verdict"
    assert request(gateway, fields={"st": 403, "b": "no"}) == (403, "no")


@pytest.mark.parametrize("forged", [None, True, "text", {"v": 1, "n": "rid1", "ids": [1, 2]}])
def test_what_others_leave_in_the_shared_context_counts_for_nothing(world, forged):
    gateway = warm(Gateway(world, FOUR[:2]))
    leave = world.run(
        "local v = ... return { rewrite = function() kong.ctx.shared.kgate = v end }", world.table(forged)
    )
    answer = request(gateway, modes=dict.fromkeys(FOUR, "silent"), after=leave)
    assert reason_of(answer) == "no_verdict"


def test_without_the_adapter_in_kongs_configuration_a_gate_route_is_closed(world):
    """The configuration of somebody who does not know of it, half applied, or tampered with."""
    gateway = Gateway(world, FOUR)
    combos = gateway.ctx[b"plugins"][b"ws"][b"combos"]
    combos[b"kgate"] = combos[b"kgate-facts"] = None
    gateway.without_guard(False)
    world.module("kgate.handler")  # it is among Kong's plugins
    assert reason_of(request(gateway)) == "unguarded"
    assert gateway.reached == 0
    assert gateway.asked == []


def test_without_kgate_facts_there_is_no_verdict(world):
    gateway = Gateway(world, ["passport"], with_facts=False)
    assert reason_of(request(gateway)) == "no_verdict"


def test_a_plugin_that_is_none_of_the_routes_gate_plugins_is_told_nothing(world):
    gateway = warm(Gateway(world, ["passport"]))
    other = world.run("""
      return { access = function()
        package.loaded.fake.plugin_id = "other"
        kong.kgate.step(1)
        error("an event went on")
      end }
    """)
    gateway.adapter = ["kgate-facts"]
    assert request(gateway, modes={"passport": "silent"}, after=other)[0] == 200, (
        "it ends there, as with `ret`"
    )
    assert gateway.asked == []


@pytest.mark.parametrize("id", [None, "1", {}])
def test_an_id_that_is_no_number(world, id):
    gateway = Gateway(world, ["passport"])
    gateway.ids = {"passport": world.table(id)}
    assert reason_of(request(gateway)) == "no_verdict"


def test_a_verdict_that_nobody_asked_for(world):
    gateway = Gateway(world, ["passport"])
    world.run("kong.ctx.packed = ...", msgpack.packb({"v": 1, "n": "rid1"}))
    early = world.run(
        "return { rewrite = function() end, access = function() kong.kgate.verdict(kong.ctx.packed) end }"
    )
    answer = request(gateway, modes={"passport": "silent"}, after=early)
    assert reason_of(answer) == "no_verdict"
