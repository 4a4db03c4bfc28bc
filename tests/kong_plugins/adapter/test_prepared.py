"""Prepared answers: fetched once a worker, kept by use up to 8 MB, never in the way of a request."""

from __future__ import annotations

import msgpack
import pytest

from kong_plugins.static_fallback.prepared import PreparedAnswer, plan, to_wire

from .peer import Scripted, framed

ANSWER = {"on": ["502"], "st": 200, "h": ["Content-Type", "text/plain"], "b": "ok", "nm": "items"}


def reply(hash_, *answers):
    return {"answer": framed({"k": hash_, "r": list(answers)})}


def obtain(world, hash_, route="R"):
    answers = world.module("kgate.prepared").obtain(b"/s", hash_.encode(), route.encode())
    return None if answers is None else world.py(answers)


def test_fetched_once(world):
    script = Scripted(world, [reply("h1", ANSWER)])
    expected = [
        {
            "on": ["502"],
            "status": 200,
            "headers": {"Content-Type": "text/plain"},
            "body": "ok",
            "name": "items",
        }
    ]
    assert obtain(world, "h1") == expected
    assert obtain(world, "h1") == expected
    assert [msgpack.unpackb(message) for message in script.sent()] == [["p", "h1"]]


def test_the_express_lane_says_which_config_they_are_of(make_world):
    """The process that is asked may not be the one that decided."""
    world = make_world("express")
    script = Scripted(world, [reply("h1", ANSWER)])
    plan_ = world.table(
        {"n": 2, "names": ["passport", "static-fallback"], "confs": [{"a": 1}, {"b": 2, "__seq__": 3}]}
    )
    assert world.module("kgate.prepared").obtain(b"/s", b"h1", b"R", plan_) is not None
    assert msgpack.unpackb(script.sent()[0]) == ["p", "h1", "static-fallback", '{"b":2}']


def test_the_servers_own_form_is_understood(world):
    prepared = plan((PreparedAnswer("items", ("refused", "502"), 203, (("A", "b"),), "body"),))
    Scripted(world, [{"answer": framed(to_wire(prepared))}])
    assert obtain(world, prepared.hash) == [
        {"on": ["refused", "502"], "status": 203, "headers": {"A": "b"}, "body": "body", "name": "items"}
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {"answer": framed({"e": "unknown"})},
        {"answer": framed({"k": "other", "r": [ANSWER]})},
        reply("h1", {**ANSWER, "st": "200"}),
        reply("h1", {**ANSWER, "st": 700}),
        reply("h1", {**ANSWER, "b": 1}),
        reply("h1", {**ANSWER, "h": ["odd"]}),
        reply("h1", {**ANSWER, "on": "502"}),
        reply("h1", {**ANSWER, "nm": 1}),
        reply("h1", 1),
    ],
)
def test_what_is_not_an_answer_is_not_asked_for_again_for_a_second(world, bad):
    Scripted(world, [bad, reply("h1", ANSWER)])
    assert obtain(world, "h1") is None
    assert obtain(world, "h1") is None
    world.fake[b"now"] = 1001.5
    assert len(obtain(world, "h1")) == 1


def test_a_hung_server_is_not_waited_for_by_every_request(world):
    hung = {"end": "timeout"}
    Scripted(world, [hung, hung, reply("h1", ANSWER)])
    assert [obtain(world, "h1") for _ in range(5)] == [None] * 5
    assert world.fake[b"dials"] == 2
    world.fake[b"now"] = 1000.6
    assert len(obtain(world, "h1")) == 1


def test_the_routes_last_known_answers_serve_meanwhile(world):
    Scripted(world, [reply("h1", ANSWER), {"end": "timeout"}, {"end": "timeout"}])
    assert len(obtain(world, "h1")) == 1
    assert len(obtain(world, "h2")) == 1
    assert obtain(world, "h2", route="other") is None


FIRST_TOGETHER = """
  local prepared, fake, answer = ...
  local dials, slept = 0, 0
  fake.dial = function()
    dials = dials + 1
    local function nothing() return 0 end
    local sock = { settimeouts = nothing, getreusedtimes = nothing, setkeepalive = nothing }
    function sock.connect() coroutine.yield() return answer and 1 or nil, "x" end
    function sock.send() return 1 end
    function sock.close() end
    function sock.receive(_, n)
      local part = answer:sub(1, n)
      answer = answer:sub(n + 1)
      return part
    end
    return sock
  end
  local first, found = nil, {}
  local co = coroutine.create(function() first = prepared.obtain("/s", "h1", "R") end)
  ngx.sleep = function(seconds)
    slept = slept + 1
    fake.now = fake.now + seconds
    if slept == 3 then coroutine.resume(co) end
  end
  coroutine.resume(co)
  local second = prepared.obtain("/s", "h1", "R2")
  return first ~= nil, second ~= nil and first == second, dials, slept
"""


def test_of_many_that_come_first_one_fetches_and_all_have_the_answers(world):
    answer = framed({"k": "h1", "r": [ANSWER]})
    prepared = world.module("kgate.prepared")._table
    assert world.run(FIRST_TOGETHER, prepared, world.fake, answer) == (True, True, 1, 3)


def test_a_fetch_that_fails_leaves_all_without_and_nobody_dials_as_well(world):
    prepared = world.module("kgate.prepared")._table
    assert world.run(FIRST_TOGETHER, prepared, world.fake, None) == (False, False, 1, 3)


def test_a_fetch_that_hangs_is_waited_for_for_a_third_of_a_second(world):
    code = FIRST_TOGETHER.replace("slept == 3", "false")
    prepared = world.module("kgate.prepared")._table
    assert world.run(code, prepared, world.fake, None)[:3] == (False, False, 1)
    assert 1000.3 < world.fake[b"now"] < 1000.4


def test_least_recently_used_go_beyond_8_mb(world):
    prepared = world.module("kgate.prepared")

    def store(hash_, megabytes):
        answer = {**ANSWER, "b": "x" * (megabytes * 1024 * 1024)}
        prepared.store(hash_.encode(), world.table([answer]))

    store("a", 3)
    store("b", 3)
    assert prepared.get(b"a") is not None
    store("c", 3)
    assert [prepared.get(h) is not None for h in (b"a", b"b", b"c")] == [True, False, True]
    store("a", 1)
    store("d", 3)
    assert [prepared.get(h) is not None for h in (b"a", b"c", b"d")] == [True, True, True]
    store("huge", 9)
    assert prepared.get(b"huge") is None
