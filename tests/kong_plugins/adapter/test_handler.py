"""The phases together: answers are replaced, marked, told of; an error of ours leaves no client alone."""

from __future__ import annotations

import json

import pytest

from .gateway import Gateway, serve

ANSWER = {
    "on": ["refused", "timeout", "no_target", "500"],
    "st": 200,
    "h": ["A", "b"],
    "b": "prepared",
    "nm": "items",
}


@pytest.fixture
def express(make_world):
    return make_world("express")


def with_prepared(gateway, fields=None, **request):
    """One request with a verdict that names prepared answers."""
    serve(gateway.world, gateway.verdict(p="h1", **(fields or {})), {"k": "h1", "r": [ANSWER]})
    return gateway.request(lane="express", **request)


@pytest.mark.parametrize(
    ("upstream", "token", "source"),
    [
        ({"status": 502, "error": True}, "refused", "error"),
        ({"status": 504, "error": True}, "timeout", "error"),
        ({"status": 503, "error": True}, "no_target", "error"),
        ({"status": 500}, "500", "service"),
        ({"no_peer": True}, "no_target", "exit"),
    ],
)
def test_a_failed_answer_is_replaced(express, upstream, token, source):
    gateway = Gateway(express, ["passport"])
    assert with_prepared(gateway, upstream=upstream) == (200, "prepared")
    headers = gateway.response_headers
    assert headers["x-fallback"] == f"items; reason={token}"
    assert "etag" not in headers
    assert gateway.log == {"tenant": "", "verdict": "fallback", "reason": token}
    found = gateway.outcome()
    assert (found.status, found.source, found.reason) == ("200", source, token)


@pytest.mark.parametrize("upstream", [{"status": 200}, {"status": 502}, {"status": 404}])
def test_other_answers_of_the_service_stay(express, upstream):
    gateway = Gateway(express, ["passport"])
    assert with_prepared(gateway, upstream=upstream) == (upstream["status"], "")
    assert gateway.response_headers["etag"] == "old"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_answer_of_a_plugin_is_never_replaced(express, status):
    gateway = Gateway(express, ["passport"])
    code = "local s = ...; return { access = function() return kong.response.exit(s, 'theirs', {}) end }"
    assert with_prepared(gateway, after=express.run(code, status)) == (status, "theirs")


@pytest.mark.parametrize("answer", ["refused", {"e": "overload"}])
def test_the_guards_503_is_never_replaced(express, answer):
    gateway = Gateway(express, ["passport"])
    with_prepared(gateway)
    serve(express, answer)
    status, body = gateway.request(lane="express")
    assert status == 503
    assert json.loads(body)["status"] == 503


def test_what_the_gateway_answered_is_left_whatever_kong_makes_of_it(express):
    """Kong's error page forgets that a plugin answered; our record does not."""
    answer = {"on": ["502"], "status": 200, "headers": {}, "body": "prepared", "name": "items"}
    rec = {"plan": {}, "answered": True, "decided": True, "passed": True, "prepared": [answer]}
    express.request(ctx={"kgate": rec, "service": {}, "KONG_PROXIED": True, "KONG_UNEXPECTED": True})
    express.run("ngx.status = 502")
    express.module("kgate.respond").header_filter()
    assert express.py(express.fake[b"exits"]) == {}


def test_an_exit_verdict_is_never_replaced(express):
    gateway = Gateway(express, ["passport"])
    with_prepared(gateway)
    serve(express, gateway.verdict(st=500, b="ours"))
    assert gateway.request(lane="express") == (500, "ours")


def test_fail_open_uses_the_last_known_prepared_answer(express):
    gateway = Gateway(express, ["passport"], fail="open")
    with_prepared(gateway)
    serve(express, "refused")
    assert gateway.request(lane="express", upstream={"status": 502, "error": True}) == (200, "prepared")
    assert gateway.response_headers["x-kgate-degraded"] == "server_away"


def test_marks_survive_the_swap(express):
    gateway = Gateway(express, ["passport"])
    with_prepared(gateway, {"h": ["Set-Cookie", "device=1", "X-Mark", "1"]}, upstream={"status": 500})
    assert gateway.response_headers["set-cookie"] == "device=1"
    assert gateway.response_headers["x-mark"] == "1"


def test_an_unknown_upstream_leaves_the_services_own_host(express):
    gateway = Gateway(express, ["passport"])
    express.fake[b"upstream_known"] = False
    serve(express, gateway.verdict(u="blue", a="blue"))
    assert gateway.request(lane="express")[0] == 200
    assert gateway.log == {"tenant": "", "verdict": "pass", "reason": "no_upstream"}


def test_the_whole_outcome(express):
    gateway = Gateway(express, ["passport"], tags=["kgate-tenant:order"])
    serve(express, gateway.verdict(rs="ok", a="blue", m="memo"))
    gateway.ctx[b"balancer_data"][b"try_count"] = 2
    gateway.request(
        lane="express",
        vars={"upstream_status": "502, 200", "remote_addr": "::ffff:192.0.2.9"},
        started=999.9874,
        upstream={"status": 200},
    )
    assert "|".join(gateway.outcome()) == (
        "route|service|order|200|502, 200|2|13|service|ok|blue|memo|192.0.2.9"
    )


def test_outcomes_that_are_alike_are_told_so(express):
    """A route's kinds are kept with it."""
    gateway = Gateway(express, ["passport"])
    for number in range(4):
        serve(express, gateway.verdict(m=f"memo{number % 2}"))
        gateway.request(lane="express", started=900 + number, vars={"remote_addr": f"192.0.2.{number}"})
    batch = gateway.batch()
    assert ([kind[9] for kind in batch.kinds], list(batch.places)) == (["memo0", "memo1"], [0, 1, 0, 1])
    assert [int(outcome.milliseconds) for outcome in batch.outcomes()] == [100_000, 99_000, 98_000, 97_000]


def test_passports_are_redacted_before_any_plugin_logs(express):
    gateway = Gateway(express, ["passport"])
    serve(express, gateway.verdict(s=["X-Passport", "eyJhbGciOi", "X-Canary", "blue"]))
    gateway.request(lane="express")
    entries = express.py(express.fake[b"serialize"])
    assert ["request.headers.x-passport", "REDACTED", "replace"] in entries
    assert not any("canary" in str(entry[0]) for entry in entries)


PHASES_THAT_BREAK = {
    "facts": ("kgate.facts", "fill"),
    "plan": ("kgate.plan", "of"),
    "chain": ("kgate.chain", "of"),
    "express": ("kgate.express", "decide"),
    "verdict": ("kgate.verdict", "is_valid"),
    "apply": ("kgate.apply", "request_effects"),
    "prepared": ("kgate.prepared", "obtain"),
}


def break_module(world, name, function):
    world.run(
        "local m, f = ...; require(m)[f] = function() error('broken') end",
        f"kong.plugins.{name}".encode(),
        function.encode(),
    )


@pytest.mark.parametrize("broken", PHASES_THAT_BREAK.values(), ids=PHASES_THAT_BREAK.keys())
def test_an_error_in_access_is_a_503_on_a_gate_route(express, broken):
    gateway = Gateway(express, ["passport"])
    break_module(express, *broken)
    status, body = with_prepared(gateway)
    assert (status, json.loads(body)["reason"]) == (503, "adapter_error")
    assert gateway.reached == 0
    assert "broken" in express.py(express.fake[b"errors"])[0]


@pytest.mark.parametrize("name", ["X-Passport", "Host"])
def test_a_header_that_kong_refuses_is_a_503(express, name):
    gateway = Gateway(express, ["passport"])
    express.fake[b"refuse_headers"] = True
    serve(express, gateway.verdict(s=[name, "x"]))
    assert gateway.request(lane="express")[0] == 503


@pytest.mark.parametrize(
    ("started", "milliseconds"),
    [(1000, "0"), (1000.5, "0"), (999.9996, "0"), (999.999, "1"), (999.988, "12"), (940, "60000")],
)
def test_how_long_it_took(express, started, milliseconds):
    """The clock may be set back meanwhile."""
    gateway = Gateway(express, ["passport"])
    serve(express, gateway.verdict())
    gateway.request(lane="express", started=started)
    assert gateway.outcome().milliseconds == milliseconds


@pytest.mark.parametrize(("names", "status"), [(["passport"], 503), ([], 200)])
def test_headers_that_could_not_be_stripped_stop_gate_routes(express, names, status):
    gateway = Gateway(express, names)
    break_module(express, "kgate.strip", "run")
    serve(express, gateway.verdict())
    assert gateway.request(lane="express")[0] == status


@pytest.mark.parametrize(
    "broken",
    [("kgate.fallback", "classify"), ("kgate.fallback", "swap"), ("kgate.apply", "response_marks")],
)
def test_an_error_in_header_filter_leaves_the_answer(express, broken):
    gateway = Gateway(express, ["passport"])
    break_module(express, *broken)
    assert with_prepared(gateway, {"h": ["X-Mark", "1"]}, upstream={"status": 500})[0] in (500, 200)
    assert any("header_filter" in error for error in express.py(express.fake[b"errors"]))


def test_an_error_in_log_is_one_line(express):
    gateway = Gateway(express, ["passport"])
    break_module(express, "kgate.outcomes", "add")
    serve(express, gateway.verdict())
    assert gateway.request(lane="express")[0] == 200
    assert len(express.py(express.fake[b"errors"])) == 1


@pytest.mark.parametrize("ctx", [{}, {"kgate": {"n": 0}}, {"kgate": {"n": 1}}])
def test_phases_without_route_service_or_access(express, ctx):
    """404, 400, a preflight that cors answered: header_filter and log run all the same."""
    express.request(ctx=ctx)
    handler = express.module("kgate.handler")
    conf = express.table({"socket": "/s"})
    handler.header_filter(handler._table, conf)
    handler.log(handler._table, conf)
    assert express.py(express.fake[b"errors"]) == {}


def test_priorities(world):
    assert (world.module("kgate-facts.handler").PRIORITY, world.module("kgate.handler").PRIORITY) == (
        1906,
        1900,
    )


# A loop whose body makes many tail calls, or has many constants; whether LuaJIT compiled it.
COMPILED = """
  local calls, constants = ...
  local util, source = require "jit.util", {}
  local chain = function(x) return x end
  for _ = 1, calls do
    chain = load("local inner = ...; return function(x) return inner(x) end")(chain)
  end
  for i = 1, constants do source[i] = "x = x + " .. i .. ".5" end
  local body = load("return function(x) " .. table.concat(source, " ") .. " return x end")()
  local loops = 0
  local function see(what, trace)
    if what == "stop" and util.traceinfo(trace).linktype == "loop" then loops = loops + 1 end
  end
  local f = load("local chain, body = ...; return function() for i = 1, 2000 do body(chain(i)) end end")(chain, body)
  jit.attach(see, "trace")
  f()
  jit.attach(see)
  return loops
"""


@pytest.mark.parametrize(("calls", "constants"), [(25, 0), (0, 350)])
def test_long_ways_are_compiled(make_world, calls, constants):
    assert make_world().run(COMPILED, calls, constants) == 0, "as LuaJIT is"
    world = make_world()
    world.module("kgate.handler")._table[b"init_worker"](None)
    assert world.run(COMPILED, calls, constants) > 0
