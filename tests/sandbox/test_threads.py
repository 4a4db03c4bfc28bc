"""Light threads, semaphores and the last run of timers, as OpenResty has them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from sandbox.semaphore import Semaphore


@pytest.fixture
def run(kong: Any, make_service: Any) -> Any:
    """What an access handler returns, as a list."""

    def go(code: str) -> Any:
        access = f"return kong.response.exit(200, {{(function() {code} end)()}})"
        kong.load(services=[make_service(1, {"access": access})])
        answer = kong.get("/r")
        assert answer.status == 200, answer.body
        return answer.json

    return go


@pytest.mark.parametrize(
    ("code", "values"),
    [
        # a thread runs at once, until it waits
        ("local t = {} ngx.thread.spawn(function() t[1] = 1 ngx.sleep(0) t[2] = 2 end) return #t", [1]),
        ("return ngx.thread.wait(ngx.thread.spawn(function(a) ngx.sleep(0) return a, 2 end, 1))", [True, 1, 2]),
        ("return ngx.thread.wait(ngx.thread.spawn(function() return 7 end))", [True, 7]),
        (
            "local ok, e = ngx.thread.wait(ngx.thread.spawn(function() error('x', 0) end)) "
            "return ok, e:match('^x') ~= nil",
            [False, True],
        ),
        (
            "local function f(s) return function() ngx.sleep(s) return s end end "
            "return ngx.thread.wait(ngx.thread.spawn(f(5)), ngx.thread.spawn(f(0.01)))",
            [True, 0.01],
        ),
        (
            "local t = ngx.thread.spawn(function() ngx.sleep(5) end) "
            "local killed = ngx.thread.kill(t) local again, why = ngx.thread.kill(t) "
                "return killed, again == nil, why",
            [True, True, "already terminated"],
        ),
        ("local s = require('ngx.semaphore').new(1) return s:wait(0), s:count(), select(2, s:wait(0))",
         [True, 0, "timeout"]),
        ("local s = require('ngx.semaphore').new(0) return select(2, s:wait(0.01)), s:count()", ["timeout", 0]),
        (
            "local s = require('ngx.semaphore').new(0) "
            "ngx.timer.at(0, function() s:post(2) end) return s:wait(5), s:count()",
            [True, 1],
        ),
        (  # first come, first served
            "local s, out = require('ngx.semaphore').new(0), {} local ts = {} "
            "for i = 1, 3 do ts[i] = ngx.thread.spawn(function() s:wait(5) out[#out + 1] = i end) end "
            "s:post(3) for i = 1, 3 do ngx.thread.wait(ts[i]) end return out[1], out[2], out[3]",
            [1, 2, 3],
        ),
    ],
)  # fmt: skip
def test_threads_and_semaphores(run: Any, code: str, values: list[Any]) -> None:
    assert run(code) == values


def test_one_thread_reads_while_another_sends(kong: Any, make_service: Any, tmp_path: Any) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while data := await reader.read(100):
                writer.write(data.upper())

    kong.serve_unix(echo, tmp_path / "echo.sock")
    code = """
local sock = ngx.socket.tcp()
sock:settimeouts(1000, 1000, 20)
sock:connect("unix:%s", {pool = "mine"})
local got = ""
local reader = ngx.thread.spawn(function()
  local waited = 0
  while #got < 6 do
    local data, err = sock:receiveany(100)
    if data then got = got .. data elseif err == "timeout" then waited = waited + 1 else return err end
  end
  return waited > 0
end)
sock:send({"a", {"b", "c"}})
ngx.sleep(0.05)
sock:send("def")
local ok, waited = ngx.thread.wait(reader)
kong.response.exit(200, {got, waited, ngx.worker.exiting()})
"""
    kong.load(services=[make_service(1, {"access": code % (tmp_path / "echo.sock")})])
    assert kong.get("/r").json == ["ABCDEF", True, False]


def test_a_semaphore_is_fair_and_loses_nothing() -> None:
    async def go() -> list[Any]:
        s = Semaphore(0)
        first, second = (asyncio.create_task(s.wait(seconds)) for seconds in (0.01, 5))
        await asyncio.sleep(0)
        assert s.count == -2
        assert await first == (None, "timeout")
        s.post(1)
        return [await second, s.count, s.take()]

    assert asyncio.run(go()) == [(True,), 0, False]


@pytest.mark.parametrize("phase", ["header_filter", "log"])
def test_no_waiting_in_output_phases(kong: Any, make_service: Any, phase: str) -> None:
    code = """
local _, a = pcall(ngx.thread.spawn, function() end)
local sema = require("ngx.semaphore").new(0)
local _, b = pcall(sema.wait, sema, 1)
sema:post(1)
ngx.shared.kong:set("e", a .. "|" .. b)
"""
    kong.load(services=[make_service(1, {phase: code})])
    kong.get("/r")
    kong.load(services=[make_service(1, {"access": "kong.response.exit(200, ngx.shared.kong:get('e'))"})])
    message = f"API disabled in the context of {phase}_by_lua*"
    assert kong.get("/r").body.decode().count(message) == 2


def test_timers_run_a_last_time_when_the_worker_ends(box: Any, make_service: Any, tmp_path: Any) -> None:
    lines: list[bytes] = []

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.read(100))
        writer.close()

    box.serve_unix(sink, tmp_path / "s.sock")
    box.start()
    code = """
ngx.timer.at(60, function(premature)
  local sock = ngx.socket.tcp()
  sock:connect("unix:%s")
  sock:send(tostring(premature) .. " " .. tostring(ngx.worker.exiting()))
  sock:close()
end)
"""
    box.load(services=[make_service(1, {"access": code % (tmp_path / "s.sock")})])
    box.get("/r")
    box.call(box.sandbox.stop())
    box.sandbox = None
    box.call(asyncio.sleep(0.05))
    assert lines == [b"true true"]
