"""External plugins over real MessagePack-RPC: traffic and Kong's failure rules."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.pace import within

INFO = {
    "Name": "ext",
    "Phases": ["access"],
    "Priority": 1904,
    "Version": "1",
    "Schema": {
        "name": "ext",
        "fields": [
            {"consumer": {"type": "foreign", "reference": "consumers", "eq": None}},
            {
                "config": {
                    "type": "record",
                    "required": True,
                    "fields": [
                        {"word": {"type": "string", "required": True, "default": "w/é"}},
                        {"list": {"type": "array", "elements": {"type": "string"}, "default": []}},
                    ],
                }
            },
        ],
    },
}
RET = {"Data": "ret", "EventId": 5}
WAIT = 1500
"""Milliseconds for an answer: enough on any machine where there is one."""


def call(method: str, *args: Any) -> dict[str, Any]:
    return {"Data": {"Method": method, "Args": list(args)}, "EventId": 5}


class PluginServer:
    """Scripted: `answer(method, argument)` gives a result, raises Error, or gives raw bytes; None hangs."""

    class Error(Exception):
        pass

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.ids: list[int] = []
        self.connections = 0
        self.steps: list[Any] = []
        self.instance = 0
        self.answer: Callable[[str, Any], Any] = self.script

    def script(self, method: str, argument: Any) -> Any:
        if method == "plugin.StartInstance":
            self.instance += 1
            return {"Id": self.instance, "Name": "ext", "Config": {}, "StartTime": 1}
        if method == "plugin.HandleEvent":
            self.pending = list(self.steps)
        return self.pending.pop(0) if self.pending else RET

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", strict_map_key=False)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                unpacker.feed(data)
                for _, message_id, method, args in unpacker:
                    self.calls.append((method, args[0]))
                    self.ids.append(message_id)
                    try:
                        result = self.answer(method, args[0])
                    except self.Error as e:
                        reply: Any = [1, message_id, e.args[0], None]
                    else:
                        if result is None:
                            continue
                        if isinstance(result, bytes):
                            writer.write(result)
                            continue
                        if result == "close":
                            return
                        reply = [1, message_id, None, result]
                    writer.write(msgpack.packb(reply, unicode_errors="surrogateescape"))

    def methods(self) -> list[str]:
        return [method.partition(".")[2] for method, _ in self.calls]


@pytest.fixture
def ext(box: Any, tmp_path: Path, make_service: Any) -> PluginServer:
    server = PluginServer()
    path = tmp_path / "ext.sock"
    box.serve_unix(server.serve, path)
    (tmp_path / "ext.json").write_text(json.dumps([INFO]))
    box.start(
        KONG_PLUGINS="bundled,probe,ext",
        KONG_PLUGINSERVER_NAMES="ext",
        KONG_PLUGINSERVER_EXT_SOCKET=str(path),
        KONG_PLUGINSERVER_EXT_QUERY_CMD=f"cat {tmp_path}/ext.json",
        KONG_NGINX_PROXY_LUA_SOCKET_READ_TIMEOUT=f"{WAIT}ms",
    )
    _, port = box.upstream()
    box.config = make_service(port)
    box.config["routes"][0]["plugins"] = [{"name": "ext"}]
    box.load(services=[box.config])
    return server


def test_traffic_of_one_event(box: Any, ext: PluginServer) -> None:
    ext.steps = [
        call("kong.request.get_header", "x-a"),
        call("kong.service.request.set_header", "x-b", "\udcff"),
        call("kong.request.get_headers"),
        call("kong.router.get_route"),
        call("kong.request.get_header", "none"),
        call("kong.ctx.shared.set", "k", {"a": [], "n": [1, "x"]}),
        call("kong.ctx.shared.get", "k"),
    ]
    answer = box.get("/r", {"X-A": "\xfe"})
    assert ["x-b", "\u00ff"] in answer.json["headers"]
    assert ext.methods() == [
        "StartInstance", "HandleEvent", "Step", "Step", "StepMultiMap", "StepRoute", "Step", "Step", "Step",
    ]  # fmt: skip
    start, event, first, second, headers, route, missing, _, shared = (argument for _, argument in ext.calls)
    config = json.loads(start["Config"])
    assert (start["Name"], config["word"], config["list"]) == ("ext", "w/é", [])
    assert {"__seq__", "__plugin_id", "__key__", "__ws_id", "route_id"} <= set(config)
    assert event == {"InstanceId": 1, "EventName": "access"}
    assert first == {"EventId": 5, "Data": "\udcfe"}
    assert second == {"EventId": 5}
    assert headers["Data"]["x-a"] == ["\udcfe"]
    assert route["Data"]["name"] == "r"
    assert missing == {"EventId": 5}
    assert shared["Data"] == {"a": [], "n": [1, "x"]}
    assert ext.ids == list(range(1, 10))
    assert box.get("/r").status == 200
    assert ext.methods().count("StartInstance") == 1
    assert ext.connections == 1


def test_exit_ends_the_event(box: Any, ext: PluginServer) -> None:
    ext.steps = [call("kong.response.exit", 418, "tea", {"x-e": "e"}), RET]
    answer = box.get("/r")
    assert (answer.status, answer.body, answer.header("x-e")) == (418, b"tea", "e")
    assert ext.methods() == ["StartInstance", "HandleEvent"]


def test_a_called_function_may_pack_its_result_itself_or_end_the_event(box: Any, ext: PluginServer) -> None:
    own = """
      kong.mine = {
        raw = function(n) return function(buffer)
          buffer[#buffer + 1] = "\\x92" .. string.char(n)
          buffer[#buffer + 1] = "\\xa2x\\xff"
        end end,
        leave = function() coroutine.yield() error("comes back") end,
      }
    """
    box.load(services=[box.config], plugins=[{"name": "probe", "config": {"rewrite": own}}])
    ext.steps = [call("kong.mine.raw", 7), call("kong.mine.leave"), RET]
    assert box.get("/r").status == 200
    assert ext.methods() == ["StartInstance", "HandleEvent", "Step"]
    assert ext.calls[-1][1] == {"EventId": 5, "Data": [7, "x\udcff"]}


def test_a_called_function_may_wait(box: Any, ext: PluginServer) -> None:
    """For anything that a handler may wait for; it then goes on, and the event with it."""
    own = """
      local semaphore = require "ngx.semaphore"
      kong.mine = {
        nap = function(word)
          ngx.sleep(0.01)
          local s = semaphore.new(0)
          ngx.timer.at(0, function() s:post(1) end)
          local ok, err = s:wait(5)
          return { word, ok or err, kong.request.get_path() }
        end,
        leave = function() ngx.sleep(0.01) coroutine.yield() error("comes back") end,
        exit = function() ngx.sleep(0.01) return kong.response.exit(418, "tea") end,
        fail = function() ngx.sleep(0.01) error("late") end,
      }
    """
    box.load(services=[box.config], plugins=[{"name": "probe", "config": {"rewrite": own}}])
    ext.steps = [call("kong.mine.nap", "x"), call("kong.mine.nap", "y"), call("kong.mine.leave"), RET]
    assert box.get("/r").status == 200
    assert [argument["Data"] for method, argument in ext.calls if method == "plugin.Step"] == [
        ["x", True, "/r"],
        ["y", True, "/r"],
    ]
    for function, status in (("exit", 418), ("fail", 500)):
        ext.steps = [call(f"kong.mine.{function}"), RET]
        assert box.get("/r").status == status


def test_a_new_configuration_starts_new_and_closes_old(box: Any, ext: PluginServer) -> None:
    box.get("/r")
    box.load(services=[{**box.config, "tags": ["new"]}])
    box.get("/r")
    assert ext.methods() == ["StartInstance", "HandleEvent", "StartInstance", "CloseInstance", "HandleEvent"]
    assert ext.calls[3][1] == 1


@pytest.mark.parametrize(
    ("at", "failure", "status"),
    [
        ("plugin.StartInstance", "error", 500),
        ("plugin.StartInstance", "close", 500),
        ("plugin.HandleEvent", "error", 200),
        ("plugin.HandleEvent", "close", 200),
        ("plugin.HandleEvent", "hang", 200),
        ("plugin.HandleEvent", "number", 500),
        ("plugin.HandleEvent", "wrong id", 500),
        ("plugin.HandleEvent", "raises", 500),
        ("plugin.HandleEvent", "unknown method", 200),
        ("plugin.Step", "error", 200),
    ],
)
def test_failures(box: Any, ext: PluginServer, at: str, failure: str, status: int) -> None:
    def answer(method: str, argument: Any) -> Any:
        if method == "plugin.HandleEvent" and at == "plugin.Step":
            return call("kong.request.get_method")
        if method != at:
            return ext.script(method, argument)
        if failure in ("error", "number"):
            raise PluginServer.Error("broken" if failure == "error" else 7)
        return {
            "close": "close",
            "hang": None,
            "wrong id": msgpack.packb([1, 999, None, RET]),
            "raises": call("kong.response.exit", 7),
            "unknown method": call("kong.nothing.at_all"),
        }[failure]

    ext.pending = []
    ext.answer = answer
    assert box.get("/r").status == status


def test_after_a_timeout_the_connection_is_used_again(box: Any, ext: PluginServer) -> None:
    box.get("/r")
    ext.answer = lambda method, argument: None
    started = time.monotonic()
    assert box.get("/r").status == 200
    assert 0.9 * WAIT / 1000 < time.monotonic() - started < within(WAIT / 1000)
    # the connection went back to the pool; what is sent on it next gets the late answer first
    late = msgpack.packb([1, ext.ids[-1], None, RET])
    ext.answer = lambda method, argument: late
    assert box.get("/r").status == 500
    assert ext.connections == 1


def test_no_plugin_instance_starts_again(box: Any, ext: PluginServer) -> None:
    box.get("/r")
    lost = [True]

    def answer(method: str, argument: Any) -> Any:
        if method == "plugin.HandleEvent" and lost:
            lost.pop()
            raise PluginServer.Error("No Plugin Instance 1")
        return ext.script(method, argument)

    ext.answer = answer
    assert box.get("/r").status == 200
    assert ext.methods()[2:] == ["HandleEvent", "StartInstance", "HandleEvent"]


def test_a_changed_server_pid_drops_instances(box: Any, ext: PluginServer) -> None:
    pids = iter([1, 1, 2, 2, 2, 2])

    def answer(method: str, argument: Any) -> Any:
        notice = msgpack.packb([2, "serverPid", next(pids)])
        return notice + msgpack.packb([1, ext.ids[-1], None, ext.script(method, argument)])

    ext.answer = answer
    for _ in range(3):
        assert box.get("/r").status == 200
    assert ext.methods() == ["StartInstance", "HandleEvent", "HandleEvent", "StartInstance", "HandleEvent"]


def test_first_requests_in_parallel_start_one_instance(box: Any, ext: PluginServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert {a.status for a in pool.map(lambda _: box.get("/r"), range(8))} == {200}
    assert ext.methods().count("StartInstance") == 1
    assert ext.methods().count("HandleEvent") == 8


def test_order_with_lua_plugins(box: Any, ext: PluginServer) -> None:
    box.config["routes"][0]["plugins"] += [
        {"name": "probe", "config": {"access": "kong.response.exit(200, kong.ctx.shared.word)"}}
    ]
    box.load(services=[box.config])
    ext.steps = [call("kong.ctx.shared.set", "word", "from ext")]
    assert box.get("/r").body == b"from ext"


def test_schema_of_the_query_command_is_checked(box: Any, ext: PluginServer) -> None:
    bad = {**box.config, "plugins": [{"name": "ext", "config": {"word": 1}}]}
    errors = box.post({"services": [bad]}, "?flatten_errors=1").json["flattened_errors"]
    assert errors[0]["errors"] == [{"type": "field", "field": "config.word", "message": "expected a string"}]
    scoped = {"consumers": [{"username": "b"}], "plugins": [{"name": "ext", "consumer": "b"}]}
    assert box.post(scoped, "?flatten_errors=1").status == 400
