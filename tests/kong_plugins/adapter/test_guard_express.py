"""The guard in the express lane: one question for the whole chain, and nothing passes without its answer."""

from __future__ import annotations

import json

import msgpack
import pytest

from .gateway import Gateway, serve

FOUR = ["abuse-guard", "passport", "canary-router", "static-fallback"]


@pytest.fixture
def express(make_world):
    return make_world("express")


def ask(gateway, *answers, **request):
    script = serve(gateway.world, *answers)
    status, body = gateway.request(lane="express", **request)
    return status, body, script


def reason_of(body):
    return json.loads(body)["reason"]


@pytest.mark.parametrize("names", [FOUR[1:2], FOUR[:2], FOUR])
def test_one_question_for_the_chain(express, names):
    gateway = Gateway(express, names)
    verdict = gateway.verdict(
        s=["X-Passport", "eyJ"], u="blue", h=["X-Mark", "1"], m="memo", a="blue", rs="ok"
    )
    status, _, script = ask(gateway, verdict)
    assert status == 200
    assert express.py(express.fake[b"set_headers"]) == {"X-Passport": "eyJ"}
    assert express.py(express.fake[b"upstreams"]) == ["blue"]
    (message,) = [msgpack.unpackb(sent) for sent in script.sent()]
    assert message[:2] == ["d", verdict["ch"]]
    assert message[2][:2] == [1, "rid1"]
    assert gateway.log == {"tenant": "", "verdict": "pass", "reason": "ok", "arm": "blue"}


def test_where_nobody_logs_nothing_is_told_to_the_log(express):
    gateway = Gateway(express, FOUR[:2])
    gateway.ctx[b"plugins"][b"ws"][b"plugins"] = express.run("return { [0] = 0 }")
    status, _, _ = ask(gateway, gateway.verdict(s=["X-Passport", "eyJ"], rs="ok"))
    assert (status, gateway.log) == (200, {})
    assert express.py(express.fake[b"serialize"]) == {}
    assert gateway.outcome().reason == "ok"


def test_configs_are_sent_when_the_server_asks(express):
    gateway = Gateway(express, FOUR[:2])
    status, _, script = ask(gateway, {"e": "config"}, gateway.verdict())
    assert status == 200
    second = msgpack.unpackb(script.sent()[1])
    assert second[3] == ["abuse-guard", '{"fail":"closed"}', "passport", '{"fail":"closed"}']


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("refused", "server_away"),
        ("timeout", "server_away"),
        ("closed", "server_away"),
        ({"e": "overload"}, "no_verdict"),
        ({}, "no_verdict"),
        ({"v": 1, "n": "rid1", "e": "no_state"}, "no_state"),
        ({"v": 1, "n": "rid1", "e": "deadline"}, "deadline"),
        ({"v": 1, "n": "another", "e": "no_state"}, "no_verdict"),
        ({"v": 1, "n": "rid1", "e": "ids"}, "no_verdict"),
    ],
)
def test_no_answer(express, answer, reason):
    gateway = Gateway(express, ["passport"])
    status, body, _ = ask(gateway, answer)
    assert (status, reason_of(body)) == (503, reason)
    assert gateway.reached == 0
    assert gateway.outcome()[7:9] == ("kgate", reason)


@pytest.mark.parametrize("answer", ["refused", "timeout", {"e": "overload"}])
def test_no_answer_with_fail_open(express, answer):
    gateway = Gateway(express, ["passport"], fail="open")
    assert ask(gateway, answer)[0] == 200
    assert gateway.response_headers["x-kgate-degraded"] in ("server_away", "no_verdict")


@pytest.mark.parametrize(
    "fields",
    [
        {"n": "another"},
        {"n": None},
        {"ch": "f" * 32},
        {"ch": None},
        {"v": 2},
        {"s": ["odd"]},
        {"e": "x"},
        {"st": 1},
    ],
)
def test_what_is_no_verdict_on_this_request(express, fields):
    gateway = Gateway(express, ["passport"])
    status, body, _ = ask(gateway, gateway.verdict(**fields))
    assert (status, reason_of(body)) == (503, "no_verdict")
    why = fields.get("e", "not a verdict on this request")
    assert express.py(express.fake[b"errors"]) == [f"kgate: no verdict: {why}"]


def test_config_asked_for_twice_is_no_verdict(express):
    gateway = Gateway(express, ["passport"])
    assert ask(gateway, {"e": "config"}, {"e": "config"})[0] == 503


def test_breaker(express):
    gateway = Gateway(express, ["passport"])
    script = serve(express, "timeout", "timeout", "timeout", gateway.verdict())
    reasons = [reason_of(gateway.request(lane="express")[1]) for _ in range(4)]
    assert reasons == ["server_away", "server_away", "breaker_open", "breaker_open"]
    assert len(script.seen) == 2
    express.fake[b"now"] = 1000.5
    assert reason_of(gateway.request(lane="express")[1]) == "server_away"
    express.fake[b"now"] = 1001.0
    assert gateway.request(lane="express")[0] == 200


def test_an_answer_between_two_that_did_not_come_keeps_the_breaker_closed(express):
    gateway = Gateway(express, ["passport"])
    script = serve(express, *["timeout", gateway.verdict()] * 3)
    assert [gateway.request(lane="express")[0] for _ in range(6)] == [503, 200] * 3
    assert len(script.seen) == 6
    assert len(express.py(express.fake[b"errors"])) == 3


def test_a_plugin_that_did_not_register_is_missed(express):
    gateway = Gateway(express, FOUR[:2])
    express.run("require('kong.plugins.passport.handler').access = function() end")
    assert reason_of(ask(gateway)[1]) == "no_verdict"


def test_a_config_of_another_route_is_missed(express):
    gateway = Gateway(express, ["passport"])
    express.run(
        """
        local chain, other = require("kong.plugins.kgate.chain"), {}
        require("kong.plugins.passport.handler").access = function(self) chain.add(self, other) end
        """
    )
    assert reason_of(ask(gateway)[1]) == "no_verdict"


def test_gate_plugins_that_kongs_table_does_not_show_are_not_let_through(express):
    gateway = Gateway(express, ["passport"])
    gateway.ctx[b"plugins"][b"ws"] = None
    assert reason_of(ask(gateway)[1]) == "unreadable"


def test_the_lane_is_the_express_one_only_with_our_plugins(express, world):
    assert express.module("kgate.lane").is_express() is True
    assert world.module("kgate.lane").is_express() is False


def test_a_foreign_lua_plugin_of_the_name_is_not_our_lane(world):
    world.run("package.preload['kong.plugins.passport.handler'] = function() return { PRIORITY = 1 } end")
    assert world.module("kgate.lane").is_express() is False


@pytest.mark.parametrize("name", FOUR)
def test_priorities(express, name):
    handler = express.module(f"{name}.handler")
    found = (handler.PRIORITY, handler.VERSION, handler.kgate_express)
    assert found == (1905 - FOUR.index(name), b"0.1.0", True)


@pytest.mark.parametrize("with_facts", [True, False])
def test_without_the_guard_a_gate_route_is_closed(express, with_facts):
    """A configuration that is half applied, or tampered with: the four alone, or with kgate-facts."""
    gateway = Gateway(express, ["passport"])
    gateway.ctx[b"plugins"][b"ws"][b"combos"][b"kgate"] = None
    gateway.without_guard(with_facts)
    status, body = gateway.request(lane="express")
    assert status == 503
    assert '"reason": "unguarded"' in body
    assert gateway.reached == 0


def has_access(world, name="passport"):
    return world.module(f"{name}.handler")._table[b"access"] is not None


def configure(world, *confs):
    handler = world.module("kgate.handler")._table
    handler[b"configure"](handler, world.table(list(confs)) if confs else None)


def test_plugins_register_until_one_request_has_shown_that_the_guard_reads_them_right(express):
    gateway = Gateway(express, FOUR)
    configure(express, {"socket": "/s"})
    assert ask(gateway, gateway.verdict())[0] == 200
    assert [has_access(express, name) for name in FOUR] == [False] * 4
    assert ask(gateway, gateway.verdict(st=403, b="no"))[:2] == (403, "no")
    status, body, _ = ask(gateway, "timeout")
    assert (status, reason_of(body)) == (503, "server_away")
    configure(express, {"socket": "/s"})
    assert has_access(express)


def test_a_wrong_registration_keeps_them_registering(express):
    gateway = Gateway(express, FOUR[:2])
    configure(express, {"socket": "/s"})
    del gateway.names[1]
    assert reason_of(ask(gateway)[1]) == "no_verdict"
    assert has_access(express)


@pytest.mark.parametrize("confs", [[], [{"route_id": "r"}], [{"service_id": "s"}], [{"consumer_id": "c"}]])
def test_without_a_global_guard_they_always_register(express, confs):
    gateway = Gateway(express, ["passport"])
    configure(express, *confs)
    assert ask(gateway, gateway.verdict())[0] == 200
    assert has_access(express)


def test_the_guard_goes_away_with_a_new_configuration(express):
    gateway = Gateway(express, ["passport"])
    configure(express, {"socket": "/s"})
    ask(gateway, gateway.verdict())
    configure(express)
    gateway.ctx[b"plugins"][b"ws"] = express.table({"combos": {"passport": {"R::": {}}}})
    gateway.without_guard(True)
    assert reason_of(gateway.request(lane="express")[1]) == "unguarded"


def test_a_table_that_becomes_unreadable_closes_and_makes_them_register(express):
    gateway = Gateway(express, ["passport"])
    configure(express, {"socket": "/s"})
    ask(gateway, gateway.verdict())
    combos = {"kgate": {"::": gateway.own[b"kgate"]}, "passport": {"of another form": {}}}
    gateway.ctx[b"plugins"][b"ws"] = express.table({"combos": combos})
    for _ in range(2):
        assert reason_of(ask(gateway)[1]) == "unreadable"
        assert has_access(express)
