"""The guard in the pdk lane: no request passes its gate plugins without a verdict of all of them."""

from __future__ import annotations

import json

import pytest

from .gateway import Gateway, serve

FOUR = ["abuse-guard", "passport", "canary-router", "static-fallback"]


def reason_of(body):
    return json.loads(body)["reason"]


@pytest.mark.parametrize("names", [FOUR[:1], FOUR[1:2], FOUR[:2], FOUR])
def test_a_verdict_of_all_lets_pass(world, names):
    gateway = Gateway(world, names)
    assert gateway.request(fields={"s": ["X-Passport", "eyJ"], "h": ["X-Mark", "1"]}) == (200, "")
    assert world.py(world.fake[b"set_headers"]) == {"X-Passport": "eyJ"}
    assert gateway.response_headers["x-mark"] == "1"
    assert gateway.reached == 1


def known_ids(world):
    """Of the record that the gate plugins of the last request got."""
    record = world.lua.globals()[b"kong"][b"ctx"][b"shared"][b"kgate"]
    return world.py(record)["k"] if record[b"k"] is not None else None


def test_the_ids_of_a_verdict_are_told_with_the_next_requests_of_the_route(world):
    gateway = Gateway(world, FOUR)
    silent = dict.fromkeys(FOUR, "silent")
    gateway.request(modes=silent)
    assert known_ids(world) is None
    gateway.request()
    gateway.request(modes=silent)
    assert known_ids(world) == [1, 2, 3, 4]
    gateway.request(fields={"e": "filter_error"})
    gateway.request(modes=silent)
    assert known_ids(world) is None, "after an error they are asked for again"


@pytest.mark.parametrize("silent", FOUR)
def test_one_of_four_that_fails_alone_is_missed(world, silent):
    gateway = Gateway(world, FOUR)
    status, body = gateway.request(modes={silent: "silent"})
    assert (status, reason_of(body)) == (503, "no_verdict")
    assert gateway.reached == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"v": 2},
        {"n": "another"},
        {"n": ""},
        {"ids": [1]},
        {"ids": [1, 2, 3]},
        {"ids": []},
        {"ids": "12"},
        {"s": ["odd"]},
        {"st": 99},
        {"e": "filter_error"},
    ],
)
def test_what_is_no_verdict_on_this_request(world, fields):
    gateway = Gateway(world, FOUR[:2])
    status, body = gateway.request(fields=fields)
    assert (status, reason_of(body)) == (503, fields.get("e", "no_verdict"))


def test_an_error_of_one_route_does_not_close_the_others(world):
    """The server answered, so nothing is away: the breaker is for servers that do not answer."""
    gateway = Gateway(world, ["passport"])
    for _ in range(4):
        assert gateway.request(fields={"e": "filter_error"})[0] == 503
    assert gateway.request() == (200, "")


def test_the_record_of_the_facts_is_no_verdict_itself(world):
    gateway = Gateway(world, ["passport"])
    assert gateway.request(modes={"passport": "silent"})[0] == 503


@pytest.mark.parametrize("forged", [None, True, "text", {"v": 1, "n": "rid1", "ids": [1]}])
def test_what_others_leave_in_the_shared_context_counts_for_nothing(world, forged):
    gateway = Gateway(world, FOUR[:2])
    later = world.run("return { access = function() end }")
    gateway.request(modes=dict.fromkeys(FOUR, "silent"), after=later)
    world.run("local v = ...; kong.ctx.shared.kgate = v", world.table(forged))
    assert gateway.request(modes=dict.fromkeys(FOUR, "silent"))[0] == 503


def test_fail_open_passes_with_a_mark(world):
    gateway = Gateway(world, ["passport"], fail="open")
    assert gateway.request(modes={"passport": "silent"}) == (200, "")
    assert gateway.response_headers["x-kgate-degraded"] == "no_verdict"
    assert gateway.log == {"tenant": "", "verdict": "degraded", "reason": "no_verdict"}


def test_fail_open_never_means_that_a_verdict_to_refuse_is_ignored(world):
    gateway = Gateway(world, ["passport"], fail="open")
    assert gateway.request(fields={"st": 403, "b": "no"}) == (403, "no")


def test_the_strictest_fail_policy_of_the_route_counts(world):
    gateway = Gateway(world, FOUR[:2], fail="open")
    gateway.confs[b"abuse-guard"][b"fail"] = b"closed"
    assert gateway.request(modes={"passport": "silent"})[0] == 503


def test_an_exit_verdict_answers_the_client(world):
    gateway = Gateway(world, ["passport"])
    fields = {
        "st": 401,
        "b": "who?",
        "h": ["WWW-Authenticate", "Bearer"],
        "rs": "token_missing",
        "tn": "order",
    }
    assert gateway.request(fields=fields) == (401, "who?")
    assert gateway.response_headers["www-authenticate"] == "Bearer"
    assert gateway.log == {"tenant": "order", "verdict": "exit", "reason": "token_missing"}
    assert gateway.outcome()[7:9] == ("kgate", "token_missing")


def test_a_gate_plugin_may_answer_itself(world):
    gateway = Gateway(world, FOUR)
    assert gateway.request(modes={"static-fallback": "exit"}) == (401, "theirs")
    assert gateway.log["verdict"] == "exit"
    assert gateway.outcome().source == "kgate"


def test_the_reason_of_a_plugins_own_answer_is_logged_and_not_shown(world):
    gateway = Gateway(world, FOUR)
    assert gateway.request(modes={"static-fallback": "exit"}) == (401, "theirs")
    assert gateway.log["reason"] == "token_missing"
    assert gateway.outcome().reason == "token_missing"
    assert "x-kgate-reason" not in gateway.response_headers


def test_without_the_guard_a_gate_route_is_closed(world):
    """A configuration that is half applied, or tampered with: kgate-facts alone, or the four alone."""
    gateway = Gateway(world, ["passport"])
    combos = gateway.ctx[b"plugins"][b"ws"][b"combos"]
    combos[b"kgate"] = None
    status, body = gateway.request()
    assert (status, reason_of(body)) == (503, "unguarded")
    assert gateway.reached == 0


def test_kongs_500_for_a_cold_plugin_becomes_503(world):
    gateway = Gateway(world, ["passport"])
    sent = [("Expect", "100-continue"), ("A", "b")]
    status, body = gateway.request(modes={"passport": "error"}, headers=sent)
    assert (status, reason_of(body)) == (503, "server_away")
    assert world.py(world.fake[b"request_headers"]()) == [["A", "b"]], (
        "else nginx sends a 100 after the answer"
    )
    assert gateway.response_headers["content-type"] == "application/problem+json"
    assert gateway.reached == 0


def test_cold_plugins_that_do_not_start_open_the_breaker(world):
    gateway = Gateway(world, ["passport"])
    reasons = [reason_of(gateway.request(modes={"passport": "error"})[1]) for _ in range(3)]
    assert reasons == ["server_away", "server_away", "breaker_open"]


def test_another_plugins_500_stays(world):
    gateway = Gateway(world, ["passport"])
    later = world.run("return { access = function() error('theirs') end }")
    assert gateway.request(after=later)[0] == 500


def test_the_breaker_answers_before_the_gate_plugins_are_called(world):
    gateway = Gateway(world, ["passport"])
    silent = {"modes": {"passport": "silent"}}
    assert [reason_of(gateway.request(**silent)[1]) for _ in range(4)] == [
        "no_verdict",
        "no_verdict",
        "breaker_open",
        "breaker_open",
    ]
    assert gateway.request()[0] == 503
    world.fake[b"now"] = 1000.5
    assert gateway.request()[0] == 200  # the probe
    assert gateway.request()[0] == 200


@pytest.mark.parametrize(("mode", "closes"), [("exit", True), ("error", False), ("silent", False)])
def test_an_answer_of_a_gate_plugin_closes_the_breaker_too(world, mode, closes):
    gateway = Gateway(world, ["passport"])
    for _ in range(2):
        gateway.request(modes={"passport": "silent"})
    world.fake[b"now"] = 1000.5
    gateway.request(modes={"passport": mode})
    assert (gateway.request()[0] == 200) is closes


def test_an_open_breaker_on_a_fail_open_route_still_takes_a_verdict(world):
    gateway = Gateway(world, ["passport"], fail="open")
    for _ in range(3):
        gateway.request(modes={"passport": "silent"})
    assert gateway.request(fields={"st": 403, "b": "no"}) == (403, "no")


@pytest.mark.parametrize(
    ("names", "tags", "status", "reason"),
    [
        ([], ["kgate-protected"], 503, "unprotected"),
        (["abuse-guard"], ["kgate-protected"], 503, "unprotected"),
        (["passport"], ["kgate-protected"], 200, None),
        ([], [], 200, None),
    ],
)
@pytest.mark.parametrize("with_facts", [True, False])
def test_default_deny(world, names, tags, status, reason, with_facts):
    gateway = Gateway(world, names, tags=tags, with_facts=with_facts)
    if not with_facts:
        world.run("kong.ctx.shared = {}")
    got, body = gateway.request(modes={} if with_facts else dict.fromkeys(FOUR, "silent"))
    if reason:
        assert (got, reason_of(body)) == (status, reason)
    elif with_facts or not names:
        assert got == status


def test_without_kgate_facts_there_is_no_verdict(world):
    gateway = Gateway(world, ["passport"], with_facts=False)
    status, body = gateway.request(modes={"passport": "silent"})
    assert (status, reason_of(body)) == (503, "no_verdict")


def test_an_ungated_route_is_left_alone(world):
    gateway = Gateway(world, [])
    assert gateway.request(headers=[("X-Passport", "forged"), ("A", "b")]) == (200, "")
    assert world.py(world.fake[b"request_headers"]()) == [["A", "b"]]
    assert gateway.log == {}
    assert len(world.fake[b"timers"]) == 0


def test_the_record_for_the_plugins(world):
    """kong.ctx.shared.kgate as docs/protocol.md has it; it crosses Kong's MessagePack."""
    gateway = Gateway(world, FOUR[:2], tags=["kgate-tenant:order"])
    gateway.request(modes=dict.fromkeys(FOUR, "silent"), headers=[("Authorization", "Bearer x")])
    record = world.py(world.run("return kong.ctx.shared.kgate"))
    assert record["v"] == 1
    assert record["g"] == FOUR[:2]
    assert record["ids"] == {}
    assert record["f"][:2] == [1, "rid1"]
    assert record["f"][8:13] == ["route", "service", "order", "", ""]
    assert record["f"][13:] == ["authorization", "Bearer x"]


def test_prepared_answers_are_fetched_in_this_lane_too_and_a_failure_is_no_failure(world):
    answer = {"on": ["refused"], "st": 200, "h": [], "b": "later", "nm": "items"}
    gateway = Gateway(world, ["passport"])
    refused = {"status": 502, "error": True}
    serve(world, "refused")
    assert gateway.request(fields={"p": "h1"}, upstream=refused)[0] == 502
    serve(world, {"k": "h1", "r": [answer]})
    assert gateway.request(fields={"p": "h1"}, upstream=refused) == (200, "later")


@pytest.mark.parametrize(("mode", "misses"), [("good", 1), ("exit", 1), ("silent", 2), ("error", 2)])
def test_whoever_goes_to_cold_plugins_is_done_when_they_answered_or_not(world, mode, misses):
    gateway = Gateway(world, ["passport"])
    gateway.request(modes={"passport": mode})
    world.run("ngx.sleep = function() error('nobody is waited for') end")
    gateway.request(modes={"passport": "silent"})
    assert world.module("kgate.guard").breaker[b"misses"] == misses


@pytest.mark.parametrize(
    ("mode", "warm"), [("good", True), ("exit", True), ("silent", False), ("error", False)]
)
def test_an_exit_of_a_plugin_is_an_answer_too(world, mode, warm):
    gateway = Gateway(world, ["passport"])
    world.run(
        "plans = {} local cold = require 'kong.plugins.kgate.cold' local try = cold.try "
        "function cold.try(rec, plan) plans[1] = plan return try(rec, plan) end"
    )
    gateway.request(modes={"passport": mode})
    plan = world.py(world.run("return { warm = plans[1].warm, trying = plans[1].trying or false }"))
    assert plan == {"warm": warm, "trying": False}


def test_where_another_request_goes_to_cold_plugins_one_waits_and_is_answered_by_the_breaker(world):
    gateway = Gateway(world, ["passport"])
    world.run("""
      local cold = require "kong.plugins.kgate.cold"
      local guard = require "kong.plugins.kgate.guard"
      local wait = cold.wait
      function cold.wait(plan)
        plan.trying = true
        ngx.sleep = function()
          guard.breaker:miss(ngx.now(), ngx.now())
          guard.breaker:miss(ngx.now(), ngx.now())
          plan.trying = nil
        end
        wait(plan)
      end
    """)
    status, body = gateway.request()
    assert (status, reason_of(body)) == (503, "breaker_open")
