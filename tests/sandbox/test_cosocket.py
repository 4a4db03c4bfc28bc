"""ngx.socket.tcp and ngx.timer of the shim, against real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from tests.pace import within


class Server:
    """Answers each line: `echo X`, `close`, `hang`."""

    def __init__(self) -> None:
        self.connections = 0
        self.lines: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.closing(writer):
            while line := (await reader.readline()).decode("latin-1").rstrip("\n"):
                self.lines.append(line)
                if line == "close":
                    return
                if line != "hang":
                    writer.write((line + "\n").encode("latin-1"))


@pytest.fixture
def line_server(kong: Any, tmp_path: Path) -> tuple[Server, str]:
    server = Server()
    path = tmp_path / "s.sock"
    kong.serve_unix(server.serve, path)
    return server, f"unix:{path}"


def load(kong: Any, make_service: Any, code: str, phase: str = "access") -> None:
    kong.load(services=[make_service(1, {phase: code})])


TALK = """
local s = ngx.socket.tcp() s:settimeouts(9000, 9000, 9000)
local ok, err = s:connect("%s")
if not ok then kong.response.exit(200, "connect: " .. err) end
local reused = s:getreusedtimes()
s:send({"a", "%s", "\\n"})
local line, err = s:receive()
local kept, why = s:setkeepalive(60000, 5)
local out = { tostring(line), tostring(err), reused, tostring(kept or why) }
kong.response.exit(200, table.concat(out, " "))
"""


def test_echo_and_pool(kong: Any, make_service: Any, line_server: tuple[Server, str]) -> None:
    server, address = line_server
    load(kong, make_service, TALK % (address, "\\255b"))
    assert [kong.get("/r").body for _ in range(3)] == [b"a\xffb nil %d 1" % n for n in range(3)]
    assert server.connections == 1


def test_errors_are_openrestys(kong: Any, make_service: Any, line_server: tuple[Server, str]) -> None:
    _, address = line_server
    code = """
local out = {}
local function try(address, text, pattern)
  local s = ngx.socket.tcp() s:settimeout(text == "hang\\n" and 50 or 9000)
  local ok, err = s:connect(address)
  if not ok then out[#out + 1] = err return end
  s:send(text)
  local data, err, partial = s:receive(pattern)
  out[#out + 1] = (data or err) .. "/" .. tostring(partial)
  s:close()
end
try("unix:/nowhere.sock")
try("%s", "hang\\n", "*l")
try("%s", "close\\n", 8)
try("%s", "abcdefgh\\n", 4)
kong.response.exit(200, table.concat(out, " "))
"""
    load(kong, make_service, code % (address, address, address))
    started = time.monotonic()
    assert kong.get("/r").body == b"no such file or directory timeout/ closed/ abcd/nil"
    assert time.monotonic() - started < within(1)


def test_unread_data_is_not_pooled(kong: Any, make_service: Any, line_server: tuple[Server, str]) -> None:
    server, address = line_server
    code = """
local s = ngx.socket.tcp() s:connect("%s") s:send("abcdef\\n") s:receive(2)
local ok, err = s:setkeepalive()
kong.response.exit(200, err)
"""
    load(kong, make_service, code % address)
    assert [kong.get("/r").body for _ in range(2)] == [b"unread data in buffer"] * 2
    assert server.connections == 2


@pytest.mark.parametrize("phase", ["header_filter", "log"])
def test_no_sockets_in_output_phases(kong: Any, make_service: Any, phase: str) -> None:
    code = "local ok, err = pcall(ngx.socket.tcp) ngx.shared.kong:set('e', tostring(err))"
    load(kong, make_service, code, phase)
    kong.get("/r")
    load(kong, make_service, "kong.response.exit(200, ngx.shared.kong:get('e'))")
    assert f"API disabled in the context of {phase}_by_lua*".encode() in kong.get("/r").body


def test_a_timer_from_log_may_use_sockets(
    kong: Any, make_service: Any, line_server: tuple[Server, str]
) -> None:
    server, address = line_server
    code = """
local status = ngx.status
ngx.timer.at(0.01, function(premature, text)
  local s = ngx.socket.tcp()
  s:connect("%s")
  s:send(text .. tostring(premature) .. "\\n")
  s:receive()
  s:setkeepalive()
end, "row " .. status .. " ")
"""
    load(kong, make_service, code % address, "log")
    kong.get("/r")
    deadline = time.monotonic() + 30
    while not server.lines and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.lines == ["row 502 false"]
