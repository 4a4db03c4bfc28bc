"""The proxy: what the upstream sees, what the client gets, and failures."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ports import refused_port


def upstream_headers(answer: Any) -> dict[str, str]:
    return dict(answer.json["headers"])


def test_forwarded_headers(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    kong.load(services=[make_service(port)])
    sent = {
        "Host": "C.example:99",
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "9.9.9.9",
        "X-Kong-Request-Id": "mine",
        "X_Under": "2",
        "Keep-Alive": "1",
        "X-Drop": "1",
    }
    answer = kong.get("/r/x?a=1", [*sent.items(), ("Connection", "X-Drop")])
    assert answer.json["line"] == "GET /base/x?a=1 HTTP/1.1"
    got = upstream_headers(answer)
    assert got["Host"] == f"127.0.0.1:{port}"
    assert got["X-Forwarded-For"] == "1.2.3.4, 127.0.0.1"
    assert (got["X-Forwarded-Proto"], got["X-Forwarded-Host"]) == ("http", "c.example")
    assert (got["X-Forwarded-Path"], got["X-Forwarded-Prefix"]) == ("/r/x", "/r")
    assert (got["X-Real-IP"], got["Via"], got["X_Under"]) == ("127.0.0.1", "1.1 kong/3.9.3", "2")
    assert got["X-Kong-Request-Id"] == answer.header("x-kong-request-id") != "mine"
    assert not {"Keep-Alive", "X-Drop"} & set(got)
    assert (answer.header("via"), answer.header("server"), answer.header("x-up")) == (
        "1.1 kong/3.9.3",
        "kong/3.9.3",
        "1",
    )


def test_trusted_peer(box: Any, make_service: Any) -> None:
    _, port = box.upstream()
    box.start(KONG_TRUSTED_IPS="127.0.0.0/8", KONG_REAL_IP_HEADER="X-Forwarded-For")
    box.load(services=[make_service(port)])
    headers = {
        "X-Forwarded-For": "1.2.3.4, 5.6.7.8",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Port": "8443",
    }
    got = upstream_headers(box.get("/r", headers))
    assert got["X-Real-IP"] == "5.6.7.8"
    assert (got["X-Forwarded-Proto"], got["X-Forwarded-Port"]) == ("https", "8443")
    assert got["X-Forwarded-For"] == "1.2.3.4, 5.6.7.8, 127.0.0.1"


@pytest.mark.parametrize(("recursive", "ip"), [("off", "127.0.0.5"), ("on", "1.2.3.4")])
def test_trusted_hops(box: Any, make_service: Any, recursive: str, ip: str) -> None:
    _, port = box.upstream()
    settings = {"KONG_REAL_IP_HEADER": "X-Forwarded-For", "KONG_REAL_IP_RECURSIVE": recursive}
    box.start(KONG_TRUSTED_IPS="127.0.0.0/8", **settings)
    box.load(services=[make_service(port)])
    assert upstream_headers(box.get("/r", {"X-Forwarded-For": "1.2.3.4, 127.0.0.5"}))["X-Real-IP"] == ip


def test_any_byte_passes_both_ways(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: b"HTTP/1.1 200 OK\r\nX-Back: \xfe\xff\r\nContent-Length: 0\r\n\r\n"
    kong.load(services=[make_service(port)])
    assert kong.get("/r", {"X-Odd": "\xff\xc3"}).header("x-back") == "\xfe\xff"
    assert b"X-Odd: \xff\xc3\r\n" in up.seen[0]


def test_no_route_and_its_formats(kong: Any) -> None:
    answer = kong.get("/nowhere")
    assert answer.status == 404
    request_id = answer.header("x-kong-request-id")
    message = '"message":"no Route matched with those values"'
    assert answer.body.decode() == f'{{\n  {message},\n  "request_id":"{request_id}"\n}}'
    assert (
        kong.get("/nowhere", {"Accept": "text/html;q=0.1,text/plain"})
        .header("content-type")
        .startswith("text/plain")
    )


@pytest.mark.parametrize(
    "data",
    [
        b"GET /r HTTP/1.1\r\nHost: h\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
        b"GET /r HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        b"GET /r HTTP/1.1\r\n\r\n",
        b"GET /r HTTP/1.1\r\nHost: h\r\nBad Header: 1\r\n\r\n",
        b"GET /r/%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /../r HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_bad_requests(kong: Any, make_service: Any, raw_send: Any, data: bytes) -> None:
    up, port = kong.upstream()
    kong.load(services=[make_service(port)])
    answer = raw_send(kong.proxy, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"\r\n\r\nBad request\nrequest_id: " in answer
    assert up.seen == []


def test_keep_alive_head_and_pipelining(kong: Any, make_service: Any, raw_send: Any) -> None:
    up, port = kong.upstream()
    kong.load(services=[make_service(port)])
    out = raw_send(
        kong.proxy,
        b"HEAD /r/1 HTTP/1.1\r\nHost: h\r\n\r\n"
        b"POST /r/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        b"GET /r/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    assert out.count(b"HTTP/1.1 200 Fine") == 3
    assert [s.split(b" ")[1] for s in up.seen] == [b"/base/1", b"/base/2", b"/base/3"]
    assert up.connections == 1


def test_chunked_body_goes_up_with_its_length(kong: Any, make_service: Any, raw_send: Any) -> None:
    up, port = kong.upstream()
    kong.load(services=[make_service(port)])
    raw_send(
        kong.proxy,
        b"POST /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
    )
    assert b"Content-Length: 3\r\n" in up.seen[0]
    assert up.seen[0].endswith(b"abc")


def test_response_streams(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    held: list[Any] = []

    def script(head: bytes, writer: Any) -> bytes | None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        held.append(writer)
        return None

    up.script = script
    kong.load(services=[make_service(port)])
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got = b""
        while b"first" not in got:
            got += s.recv(65536)
        kong.loop.call_soon_threadsafe(held[0].write, b"4\r\nlast\r\n0\r\n\r\n")
        while b"last" not in got:
            got += s.recv(65536)


@pytest.fixture
def refused() -> Iterator[int]:
    """A port where nobody listens."""
    with refused_port() as port:
        yield port


def test_refused_timeout_and_missing_peers(kong: Any, refused: int) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: None

    def one(name: str, url: str, **fields: Any) -> dict[str, Any]:
        return {
            "name": name,
            "url": url,
            "retries": 1,
            "routes": [{"name": name, "paths": [f"/{name}"]}],
            **fields,
        }

    kong.load(
        services=[
            one("refused", f"http://127.0.0.1:{refused}"),
            one("hang", f"http://127.0.0.1:{port}", read_timeout=100),
            one("empty", "http://empty.up"),
            one("zero", "http://zero.up"),
            one("dns", "http://no.such.host.invalid"),
        ],
        routes=[{"name": "bare", "paths": ["/bare"]}],
        upstreams=[
            {"name": "empty.up"},
            {"name": "zero.up", "targets": [{"target": "127.0.0.1:1", "weight": 0}]},
        ],
    )
    expected = {
        "/refused": (502, "An invalid response was received from the upstream server"),
        "/hang": (504, "The upstream server is timing out"),
        "/empty": (503, "failure to get a peer from the ring-balancer"),
        "/zero": (503, "failure to get a peer from the ring-balancer"),
        "/dns": (503, "name resolution failed"),
        "/bare": (503, "no Service found with those values"),
    }
    for path, (status, message) in expected.items():
        answer = kong.get(path, {"Accept": "application/json"})
        assert (answer.status, answer.json["message"]) == (status, message), path
    assert kong.get("/refused").header("content-type") == "text/plain; charset=utf-8"
    assert kong.get("/empty").header("content-type") == "application/json; charset=utf-8"


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)])
def test_a_closed_connection_is_tried_again_for_idempotent_methods(
    kong: Any, make_service: Any, method: str, tries: int
) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: writer.transport.abort()
    kong.load(services=[make_service(port, retries=2)])
    assert kong.get("/r", method=method).status == 502
    assert len(up.seen) == tries


def test_a_connection_closed_while_idle_is_no_failure(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    writers: list[Any] = []

    def script(head: bytes, writer: Any) -> bytes:
        writers.append(writer)
        return b""

    up.script = script
    kong.load(services=[make_service(port, retries=0)])
    assert kong.get("/r").status == 200
    kong.loop.call_soon_threadsafe(writers[0].transport.abort)
    assert kong.get("/r", method="POST").status == 200


@pytest.mark.parametrize(("method", "second", "seen"), [("GET", 200, 3), ("POST", 502, 2)])
def test_a_reused_connection_that_closes_is_replaced_unless_the_request_may_have_run(
    kong: Any, make_service: Any, method: str, second: int, seen: int
) -> None:
    up, port = kong.upstream()
    used: set[Any] = set()

    def script(head: bytes, writer: Any) -> bytes | None:
        if writer in used:
            writer.transport.abort()
            return None
        used.add(writer)
        return b""

    up.script = script
    kong.load(services=[make_service(port, retries=0)])
    assert [kong.get("/r", method=method).status for _ in range(2)] == [200, second]
    assert len(up.seen) == seen


def test_weights_preserve_host_and_host_header(kong: Any) -> None:
    (a, port_a), (b, port_b) = kong.upstream(), kong.upstream()
    targets = [
        {"target": f"127.0.0.1:{port_a}", "weight": 300},
        {"target": f"127.0.0.1:{port_b}", "weight": 100},
    ]
    routes = [{"name": "r", "paths": ["/r"]}, {"name": "p", "paths": ["/p"], "preserve_host": True}]
    kong.load(
        services=[{"name": "s", "host": "u.up", "routes": routes}],
        upstreams=[{"name": "u.up", "host_header": "hh.example", "targets": targets}],
    )
    for _ in range(20):
        kong.get("/r")
    assert (len(a.seen), len(b.seen)) == (15, 5)
    assert f"Host: hh.example:{port_a}\r\n".encode() in a.seen[0]
    assert upstream_headers(kong.get("/p", {"Host": "c.example:99"}))["Host"] == "c.example:99"


def test_https_only_route(kong: Any) -> None:
    route = {"name": "r", "paths": ["/r"], "protocols": ["https"]}
    kong.load(services=[{"name": "s", "url": "http://127.0.0.1:1", "routes": [route]}])
    answer = kong.get("/r")
    assert (answer.status, answer.header("upgrade")) == (426, "TLS/1.2, HTTP/1.1")


def test_a_body_cut_short_is_not_made_whole(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()

    def script(head: bytes, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        writer.close()

    up.script = script
    kong.load(services=[make_service(port)])
    answer = kong.get("/r")
    assert (answer.status, answer.body) == (200, b"short")


def test_throughput(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    kong.load(services=[make_service(port, {"access": "kong.service.request.set_header('X-A', 'b')"})])
    n = 100
    started = time.process_time()  # of client, sandbox and upstream; not what others on the machine take
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n" * (n - 1))
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        size = 0
        while part := s.recv(1 << 20):
            size += part.count(b"HTTP/1.1 200")
    assert size == n
    assert n / (time.process_time() - started) > 100


@pytest.mark.parametrize(
    ("answer", "status", "headers"),
    [
        (b"HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n", b"299 Odd", {"date": None}),
        (b"HTTP/1.1 200 OK\r\nDate: d\r\nServer: mine\r\nVia: 1.0 x\r\nContent-Length: 0\r\n\r\n", b"200 OK",
         {"date": "d", "server": "mine", "via": "1.0 x, 1.1 kong/3.9.3"}),
        (b"HTTP/1.1 200 OK\r\nConnection: X-A\r\nX-A: 1\r\nX-B: 2\r\nX-Pad: 1\r\nContent-Length: 0\r\n\r\n",
         b"200 OK", {"x-a": None, "x-b": "2", "x-pad": None}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"502 Bad Gateway", {"via": "1.1 kong/3.9.3"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", b"502 Bad Gateway", {"connection": "close"}),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"204 No Content", {"content-length": None}),
    ],
)  # fmt: skip
def test_what_becomes_of_an_answer(
    kong: Any, make_service: Any, raw_send: Any, answer: bytes, status: bytes, headers: dict[str, str | None]
) -> None:
    """Measured on Kong 3.9.3."""
    up, port = kong.upstream()
    up.script = lambda head, writer: answer
    kong.load(services=[make_service(port)])
    out = raw_send(kong.proxy, b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert len(up.seen) == 1  # an answer that is none is not asked for again
    got = kong.get("/r")
    assert {name: got.header(name) for name in headers} == headers


def test_raw_bytes_and_absolute_targets(kong: Any, make_service: Any, raw_send: Any) -> None:
    up, port = kong.upstream()
    kong.load(services=[make_service(port)])
    for target in (b"/r/caf\xc3\xa9?\xff", b"http://other.example/r/x#f?q#g"):
        raw_send(kong.proxy, b"GET " + target + b" HTTP/1.1\r\nHost: h.\r\nConnection: close\r\n\r\n")
    assert up.seen[0].startswith(b"GET /base/caf%C3%A9?\xff HTTP/1.1\r\n")
    assert up.seen[1].startswith(b"GET /base/x#f?q HTTP/1.1\r\n")
    assert b"X-Forwarded-Host: h\r\n" in up.seen[0]
    assert b"X-Forwarded-Host: other.example\r\n" in up.seen[1]


def test_old_clients(kong: Any, make_service: Any, raw_send: Any) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    kong.load(services=[make_service(port)])
    out = raw_send(kong.proxy, b"GET /r HTTP/1.0\r\n\r\n")
    assert out.endswith(b"\r\n\r\nok")
    assert b"\r\nConnection: close\r\n" in out
    assert raw_send(kong.proxy, b"GET /r\r\n") == b"ok"
    assert b"Via: 1 kong/3.9.3" in up.seen[0]
    assert b"Via: 0.9 kong/3.9.3" in up.seen[1]
    out = raw_send(kong.proxy, b"GET /r HTTP/2.0\r\nHost: h\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert b"<center><h1>505 HTTP Version Not Supported</h1></center>" in out


def test_consistent_hashing_keeps_keys_and_sets_its_cookie(kong: Any) -> None:
    ups = [kong.upstream() for _ in range(3)]
    targets = [{"target": f"127.0.0.1:{port}"} for _, port in ups]
    hashing = {"algorithm": "consistent-hashing", "targets": targets, "slots": 300}
    kong.load(
        services=[
            {"name": name, "host": f"{name}.up", "routes": [{"name": name, "paths": [f"/{name}"]}]}
            for name in ("user", "cookie", "dash")
        ],
        upstreams=[
            {"name": "user.up", "hash_on": "header", "hash_on_header": "user", **hashing},
            {"name": "cookie.up", "hash_on": "cookie", "hash_on_cookie": "ck", **hashing},
            {"name": "dash.up", "hash_on": "header", "hash_on_header": "X-U", **hashing},
        ],
    )

    def used(path: str, headers: list[dict[str, str]]) -> list[int]:
        before = [len(up.seen) for up, _ in ups]
        for each in headers:
            assert kong.get(path, each).status == 200
        return [len(up.seen) - n for (up, _), n in zip(ups, before, strict=True)]

    assert sorted(used("/user", [{"user": "bob"}] * 4)) == [0, 0, 4]
    # so many that each target has some, whatever the ports and with them the ring
    assert min(used("/user", [{"user": f"u{i}"} for i in range(150)])) > 0
    # Kong finds nothing under a name with a dash: all go to one target
    assert sorted(used("/dash", [{"X-U": f"u{i}"} for i in range(10)])) == [0, 0, 10]
    answer = kong.get("/cookie")
    assert re.fullmatch(r"ck=[0-9a-f-]{36}; Path=/; Same-Site=Lax; HttpOnly", answer.header("set-cookie"))
    again = kong.get("/cookie", {"Cookie": answer.header("set-cookie").partition(";")[0]})
    assert again.header("set-cookie") is None


def test_services_that_are_not_part_of_the_sandbox_say_so(kong: Any) -> None:
    service = {"name": "g", "protocol": "grpc", "host": "127.0.0.1", "port": 1}
    route = {"name": "g", "paths": ["/g"], "protocols": ["http"]}
    answer = kong.post({"services": [{**service, "routes": [route]}]})
    if answer.status == 201:
        refused = kong.get("/g")
        assert refused.status == 501
        assert "protocol 'grpc' are not part of it" in refused.json["message"]
