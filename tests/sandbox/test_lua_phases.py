"""Lua plugins in LuaJIT: phases, exits, errors, selection, the shim's values."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import lua_json
from sandbox.lua_runtime import Lua, PluginLoadError
from sandbox.settings import load

MINE = "ngx.ctx.plugins.ws.combos.probe[ngx.ctx.route.id .. '::']"


@pytest.fixture
def run(kong: Any, make_service: Any) -> Any:
    """Answers of an access handler that returns values: they come back as a JSON list."""
    _, port = kong.upstream()

    def run(code: str, headers: Any = (), method: str = "GET", path: str = "/r/x") -> Any:
        access = f"return kong.response.exit(200, {{(function() {code} end)()}})"
        kong.load(services=[make_service(port, {"access": access})])
        answer = kong.get(path, headers, method)
        assert answer.status == 200, answer.body
        return answer.json

    return run


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return kong.request.get_path()", "/r/x"),
        ("return kong.request.get_raw_path()", "/r/%78"),
        ("return kong.request.get_method()", "GET"),
        ("return kong.request.get_header('x-a')", "1"),
        ("return #kong.request.get_headers()['x-a']", 2),
        ("return ngx.var.http_x_pass", "dash, under"),
        ("return ngx.var.request_uri", "/r/%78?q=1"),
        ("return ngx.req.get_headers()['X_A'][2]", "2"),
        ("return ngx.ctx.route.name", "r"),
        ("return ngx.ctx.service.name", "s"),
        ("return kong.router.get_route().paths[1]", "/r"),
        ("return ngx.md5('x')", "9dd4e461268c8034f5c8564e155c67a6"),
        ("return ngx.encode_base64('\\255\\0')", "/wA="),
        ("return #ngx.decode_base64('/wA=')", 2),
        ("return ngx.escape_uri('a b')", "a%20b"),
        ("return ngx.re.match('ab12', '(?<n>[0-9]+)').n", "12"),
        ("return (ngx.re.gsub('a.b.c', '[.]', '-'))", "a-b-c"),
        ("return (ngx.shared.kong:incr('n', 2, 1))", 3),
        ("return require('cjson').encode({})", "{}"),
        ("return require('cjson.safe').encode(require('cjson').decode('[]'))", "[]"),
        ("return require('cjson').decode('[null]')[1] == ngx.null", True),
        ("return require('cjson').encode({a = '/'})", '{"a":"\\/"}'),
        ("return (select(2, require('cjson.safe').decode('{'))) ~= nil", True),
        ("return ngx.get_phase()", "access"),
        (
            f"return kong.plugin.get_id() == {MINE}.__plugin_id",
            True,
        ),
        ("return ngx.ctx.plugins.ws.combos.probe['::'] == nil", True),
        ("return select(2, pcall(error, 'x'))", "x"),
        ("return kong.client.get_ip() .. ngx.var.remote_addr", "127.0.0.1127.0.0.1"),
        ("kong.ctx.shared.a = 1 kong.ctx.plugin.b = 2 return kong.ctx.shared.a + kong.ctx.plugin.b", 3),
        ("ngx.sleep(0.001) return kong.request.get_method()", "GET"),
        ("local ok, v = pcall(function() ngx.sleep(0.001) return 7 end) return v", 7),
    ],
)
def test_values(run: Any, code: str, value: Any) -> None:
    headers = [("X-A", "1"), ("X-A", "2"), ("X-Pass", "dash"), ("X_Pass", "under")]
    assert run(code, headers, path="/r/%78?q=1") == [value]


def test_clear_header_is_by_exact_spelling(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    code = "ngx.req.clear_header('x-abuse-score') kong.service.request.clear_header('X_Abuse_Score')"
    kong.load(services=[make_service(port, {"access": code})])
    kong.get("/r", {"X-Abuse-Score": "1", "X_Abuse_Score": "2", "X-Abuse_Score": "3"})
    assert b"X-Abuse_Score: 3" in up.seen[0]
    assert b"X-Abuse-Score" not in up.seen[0]
    assert b"X_Abuse_Score" not in up.seen[0]


def test_exit_in_access_cannot_be_caught_and_stops_later_plugins(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    probe = {"access": "pcall(kong.response.exit, 403, 'no', {['X-E'] = 'e'}) error('not reached')"}
    config = make_service(
        port, {**probe, "header_filter": "ngx.header['X-D'] = ngx.ctx.delayed_response and 'set' or 'nil'"}
    )
    config["routes"][0]["plugins"].append({"name": "request-termination", "config": {"status_code": 418}})
    kong.load(services=[config])
    answer = kong.get("/r")
    assert (answer.status, answer.body, answer.header("x-e"), answer.header("x-d")) == (
        403,
        b"no",
        "e",
        "set",
    )
    assert up.seen == []


@pytest.mark.parametrize("phase", ["rewrite", "access"])
def test_runtime_error_is_500(kong: Any, make_service: Any, phase: str) -> None:
    up, port = kong.upstream()
    hf = "ngx.header['X-Source'] = kong.response.get_source()"
    kong.load(
        services=[make_service(port)],
        plugins=[{"name": "probe", "config": {phase: "error('x')", "header_filter": hf}}],
    )
    answer = kong.get("/r")
    text = b"An unexpected error occurred"
    # in rewrite it is nginx that answers, in access Kong
    expected = text + b"\nrequest_id: " if phase == "rewrite" else b'{\n  "message":"' + text
    assert (answer.status, answer.body.startswith(expected)) == (500, True)
    assert answer.header("x-source") == "error"
    assert up.seen == []


def test_header_filter_error_closes_without_answer(kong: Any, make_service: Any, raw_send: Any) -> None:
    _, port = kong.upstream()
    kong.load(services=[make_service(port, {"header_filter": "error('x')"})])
    assert raw_send(kong.proxy, b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n") == b""


def test_log_error_is_only_logged(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    kong.load(services=[make_service(port, {"log": "error('x')"})])
    assert [kong.get("/r").status for _ in range(2)] == [200, 200]


def test_exit_in_header_filter_replaces(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: (
        b"HTTP/1.1 500 Oops\r\nETag: old\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nold"
    )
    code = """
kong.response.clear_header('Content-Encoding')
kong.response.exit(200, {a = 1}, {['X-F'] = 'f'})
ngx.header['X-After'] = 'ran'
"""
    kong.load(services=[make_service(port, {"header_filter": code})])
    answer = kong.get("/r")
    assert (answer.status, answer.body, answer.header("etag"), answer.header("x-f")) == (
        200,
        b'{"a":1}',
        "old",
        "f",
    )
    assert (answer.header("content-length"), answer.header("x-after")) == ("7", "ran")
    assert answer.header("content-encoding") is None
    head = kong.get("/r", method="HEAD")
    assert (head.status, head.header("content-length"), head.body) == (200, "7", b"")


@pytest.mark.parametrize(
    ("path", "source", "delayed"),
    [
        ("/ok", "service", "nil"),
        ("/refused", "error", "nil"),
        ("/empty", "exit", "nil"),
        ("/term", "exit", "set"),
        ("/none", "exit", "nil"),
    ],
)
def test_sources_in_header_filter_and_log(kong: Any, path: str, source: str, delayed: str) -> None:
    _, port = kong.upstream()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        dead = s.getsockname()[1]
    tell = "kong.response.get_source() .. ' ' .. (ngx.ctx.delayed_response and 'set' or 'nil')"
    code = {
        "header_filter": f"ngx.header['X-Last'] = ngx.shared.kong:get('last') ngx.header['X-S'] = {tell}",
        "log": f"local u = ngx.var.upstream_status or '-' "
        f"ngx.shared.kong:set('last', {tell} .. ngx.status .. ' ' .. u)",
    }

    def one(name: str, host: str, to: int, *plugins: Any) -> dict[str, Any]:
        routes = [{"name": name, "paths": [f"/{name}"], "plugins": list(plugins)}]
        return {"name": name, "host": host, "port": to, "retries": 1, "routes": routes}

    kong.load(
        services=[
            one("ok", "127.0.0.1", port),
            one("refused", "127.0.0.1", dead),
            one("empty", "empty.up", 80),
            one("term", "127.0.0.1", port, {"name": "request-termination", "config": {"status_code": 401}}),
        ],
        upstreams=[{"name": "empty.up"}],
        plugins=[{"name": "probe", "config": code}],
    )
    answer = kong.get(path)
    assert answer.header("x-s") == f"{source} {delayed}"
    tried = {"/ok": "200", "/refused": "502, 502"}.get(path, "-")
    assert kong.get(path).header("x-last") == f"{source} {delayed}{answer.status} {tried}"


def test_the_most_specific_instance_runs_and_rewrite_is_global(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()

    def mark(name: str) -> dict[str, str]:
        return {
            "rewrite": f"kong.service.request.set_header('X-R', '{name}')",
            "access": f"kong.service.request.set_header('X-A', '{name}')",
            "header_filter": f"kong.response.add_header('X-H', '{name}')",
        }

    config = make_service(port, mark("route"))
    config["routes"].append({"name": "r2", "paths": ["/two"]})
    config["plugins"] = [{"name": "probe", "config": mark("service")}]
    bare = {"name": "b", "url": f"http://127.0.0.1:{port}", "routes": [{"name": "b", "paths": ["/b"]}]}
    both = {"name": "probe", "route": "r2", "service": "s", "config": mark("both")}
    kong.load(services=[config, bare], plugins=[{"name": "probe", "config": mark("global")}, both])
    for path, name in (("/r", "route"), ("/two", "both"), ("/b", "global")):
        answer = kong.get(path)
        got = dict(answer.json["headers"])
        assert (got["X-R"], got["X-A"], answer.header("x-h")) == ("global", name, name)
    assert kong.get("/none").header("x-h") == "global"


def test_an_instance_that_the_schema_rules_out_is_never_chosen(
    box: Any, make_service: Any, tmp_path: Any
) -> None:
    """Kong takes it nested in a declarative file, and then passes it over."""
    folder = tmp_path / "kong" / "plugins" / "only"
    folder.mkdir(parents=True)
    (folder / "handler.lua").write_text(
        """
local H = { PRIORITY = 10, VERSION = "1" }
function H:access(conf) kong.response.exit(200, conf.text) end
return H
"""
    )
    (folder / "schema.lua").write_text(
        """
local typedefs = require "kong.db.schema.typedefs"
return { name = "only", fields = { { route = typedefs.no_route }, { service = typedefs.no_service }, {
  config = { type = "record", fields = { { text = { type = "string" } } } } } } }
"""
    )
    box.start(KONG_PLUGINS="bundled,only", KONG_LUA_PACKAGE_PATH=f"{tmp_path}/?.lua;;")
    config = make_service(1)
    config["routes"][0]["plugins"] = [{"name": "only", "config": {"text": "route"}}]
    box.load(services=[config], plugins=[{"name": "only", "config": {"text": "global"}}])
    assert box.get("/r").body == b"global"


def test_conf_tables_carry_kongs_keys(run: Any) -> None:
    code = f"local c = {MINE} return c.__seq__, c.__key__, c.route_id, c.note"
    first, second = run(code), run(code)
    assert second[0] > first[0]
    assert first[1].startswith(f"plugins:probe:{first[2]}::")
    assert first[3] == "n"


def test_set_upstream(kong: Any, make_service: Any) -> None:
    (a, port_a), (b, port_b) = kong.upstream(), kong.upstream()
    code = """
local ok, err = kong.service.set_upstream(kong.request.get_header('x-up'))
kong.response.set_header('X-Err', err or 'none')
"""
    named = make_service(port_a, {"access": code})
    named |= {"host": "a.up", "name": "n"}
    del named["url"]
    ip = {**make_service(port_a, {"access": code}), "name": "ip"}
    ip["routes"] = [{**ip["routes"][0], "name": "ip", "paths": ["/ip"]}]
    ups = [
        {"name": n, "targets": [{"target": f"127.0.0.1:{p}"}]}
        for n, p in (("a.up", port_a), ("b.up", port_b))
    ]
    kong.load(services=[named, ip], upstreams=ups)
    assert kong.get("/r", {"X-Up": "b.up"}).status == 200
    assert (len(a.seen), len(b.seen)) == (0, 1)
    assert "could not find an Upstream named 'x'" in kong.get("/r", {"X-Up": "x"}).header("x-err")
    assert len(a.seen) == 1
    assert kong.get("/ip", {"X-Up": "b.up"}).status == 500


def test_log_record(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    code = {
        "access": "local set = kong.log.set_serialize_value set('request.headers.x-passport', 'REDACTED') "
        "set('kgate.tenant', 't')",
        "log": "ngx.shared.kong:set('rec', require('cjson').encode(kong.log.serialize()))",
    }
    kong.load(services=[make_service(port, code)])
    kong.get("/r?q=1", {"X-Passport": "secret", "Authorization": "secret", "X-Odd": "\xff"})
    kong.load(
        services=[make_service(port, {"access": "kong.response.exit(200, ngx.shared.kong:get('rec'))"})]
    )
    record = json.loads(kong.get("/r").body.decode("utf-8", "surrogateescape"))
    headers = record["request"]["headers"]
    assert (headers["x-passport"], headers["authorization"], headers["x-odd"]) == (
        "REDACTED",
        "REDACTED",
        "\udcff",
    )
    assert (record["kgate"], record["source"], record["route"]["name"]) == ({"tenant": "t"}, "upstream", "r")
    assert (record["tries"][0]["port"], record["upstream_status"]) == (port, "200")


def test_requests_do_not_mix(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    code = """
ngx.ctx.mine = kong.request.get_header('x-n')
ngx.sleep(0.01)
kong.service.request.set_header('X-M', ngx.ctx.mine)
"""
    kong.load(services=[make_service(port, {"access": code})])
    sockets = []
    for n in range(20):
        s = socket.create_connection(("127.0.0.1", kong.proxy), 30)
        s.sendall(f"GET /r HTTP/1.1\r\nHost: h\r\nX-N: {n}\r\nConnection: close\r\n\r\n".encode())
        sockets.append(s)
    for n, s in enumerate(sockets):
        data = b""
        while part := s.recv(65536):
            data += part
        s.close()
        assert f'["X-M", "{n}"]'.encode() in data


ONLY = "function cannot be called in {} phase (only in: {})"
CHANGE = "rewrite, access, balancer, response, header_filter, error, admin_api"
OUTPUT = "response, header_filter, body_filter, log, error, admin_api"
BODY = "rewrite, access, response, error, admin_api"


@pytest.mark.parametrize(
    ("phase", "call", "message"),
    [
        ("log", "kong.response.exit(200)", ONLY.format("log", CHANGE)),
        ("log", "kong.response.set_header('a', 'b')", ONLY.format("log", CHANGE)),
        ("access", "kong.response.get_status()", ONLY.format("access", OUTPUT)),
        ("header_filter", "kong.service.set_upstream('u')", ONLY.format("header_filter", "access")),
        ("header_filter", "kong.service.request.set_header('a', 'b')",
         ONLY.format("header_filter", "rewrite, access, balancer")),
        ("header_filter", "kong.log.serialize()", ONLY.format("header_filter", "log")),
        ("header_filter", "kong.request.get_raw_body()", ONLY.format("header_filter", BODY)),
        ("header_filter", "ngx.sleep(0)", "API disabled in the context of header_filter_by_lua*"),
        ("header_filter", "ngx.say('')", "API disabled in the context of header_filter_by_lua*"),
        ("log", "ngx.exit(200)", "API disabled in the context of log_by_lua*"),
        ("log", "ngx.req.read_body()", "API disabled in the context of log_by_lua*"),
        ("timer", "ngx.var.uri", "API disabled in the current context"),
        ("timer", "kong.log.serialize()", "no phase in ngx.ctx.KONG_PHASE, (need one of log)"),
        ("timer", "kong.client.get_ip()", "no phase in ngx.ctx.KONG_PHASE"),
        ("access", "kong.response.set_header('a')", 'invalid header value for "a": got nil, expected array of '
         "string, string, number or boolean"),
        ("access", "kong.response.exit(700)", "code must be a number between 100 and 599"),
        ("access", "kong.service.set_retries(1.5)", "retries must be an integer"),
        ("access", "kong.service.request.set_path('x')", "path must start with /"),
        ("access", "kong.client.authenticate()", "either credential or consumer must be provided"),
    ],
)  # fmt: skip
def test_what_may_be_called_where(kong: Any, make_service: Any, phase: str, call: str, message: str) -> None:
    """Measured on Kong 3.9.3."""
    _, port = kong.upstream()
    keep = f"local _, e = pcall(function() local x = {call} end) ngx.shared.kong:set('e', tostring(e))"
    code = {"access": f"ngx.timer.at(0, function() {keep} end)"} if phase == "timer" else {phase: keep}
    kong.load(services=[make_service(port, code)])
    kong.get("/r")
    kong.load(
        services=[
            make_service(port, {"access": "ngx.sleep(0) kong.response.exit(200, ngx.shared.kong:get('e'))"})
        ]
    )
    assert kong.get("/r").body.decode().endswith(message)


def test_bodies_and_captures_for_plugins(kong: Any, http: Any) -> None:
    _, port = kong.upstream()
    code = """
local body, err = kong.request.get_raw_body()
local json = kong.request.get_body()
local captures = kong.request.get_uri_captures()
local seen = (body or err) .. "|" .. (json and json.a or "-") .. "|" .. captures.named.id
kong.service.request.set_header("X-Seen", seen)
"""
    route = {
        "name": "r",
        "paths": [r"~/r/(?<id>\d+)"],
        "plugins": [{"name": "probe", "config": {"access": code}}],
    }
    kong.load(services=[{"name": "s", "url": f"http://127.0.0.1:{port}", "routes": [route]}])
    kind = {"Content-Type": "application/json"}
    answer = http(kong.proxy, "POST", "/r/42", kind, b'{"a": 1}')
    assert dict(answer.json["headers"])["X-Seen"] == '{"a": 1}|1|42'
    assert answer.json["body"] == '{"a": 1}'
    big = http(kong.proxy, "POST", "/r/42", kind, b" " * 9000)
    assert "request body did not fit into client body buffer" in dict(big.json["headers"])["X-Seen"]


def test_body_filter(kong: Any, make_service: Any, tmp_path: Any, box: Any) -> None:
    folder = tmp_path / "kong" / "plugins" / "shout"
    folder.mkdir(parents=True)
    (folder / "handler.lua").write_text(
        """
local H = { PRIORITY = 10, VERSION = "1" }
function H:header_filter() kong.response.clear_header("Content-Length") end
function H:body_filter()
  local body = kong.response.get_raw_body()
  if body then kong.response.set_raw_body(body:upper()) end
end
return H
"""
    )
    (folder / "schema.lua").write_text(
        'return { name = "shout", fields = { { config = { type = "record", fields = {} } } } }'
    )
    kong.call(kong.sandbox.stop())
    box.start(KONG_PLUGINS="bundled,shout", KONG_LUA_PACKAGE_PATH=f"{tmp_path}/?.lua;;")
    up, port = box.upstream()
    up.script = lambda head, writer: b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    box.load(services=[make_service(port)], plugins=[{"name": "shout"}])
    assert box.get("/r").body == b"ABC"


def test_plugins_that_do_not_load(box: Any, tmp_path: Any) -> None:
    with pytest.raises(PluginLoadError, match="plugin ghost: not found"):
        box.start(KONG_PLUGINS="ghost")
    box.sandbox = None
    folder = tmp_path / "kong" / "plugins" / "broken"
    folder.mkdir(parents=True)
    (folder / "handler.lua").write_text("syntax error here")
    with pytest.raises(PluginLoadError, match="broken"):
        box.start(KONG_PLUGINS="broken", KONG_LUA_PACKAGE_PATH=f"{tmp_path}/?.lua;;")
    box.sandbox = None


VALUES = Lua(load({"KONG_PLUGINS": "bundled"}), "n").values
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, min_size=1)
    ),
    max_leaves=10,
)


@settings(max_examples=20, deadline=None)
@given(JSON)
def test_json_through_lua(value: Any) -> None:
    text = json.dumps(value)
    again = lua_json.encode(lua_json.decode(text, VALUES), VALUES)
    assert json.loads(again.encode("latin-1").decode()) == value


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=30))
def test_json_keeps_any_bytes(data: bytes) -> None:
    text = data.decode("latin-1")
    table = VALUES.to_lua({"a": data})
    decoded = lua_json.decode(lua_json.encode(table, VALUES), VALUES)
    assert decoded["a"] == text
