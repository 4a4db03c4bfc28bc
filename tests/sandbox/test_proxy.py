"""The proxy: what the upstream sees, what the client gets, and failures."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


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
    with socket.create_connection(("127.0.0.1", kong.proxy), 5) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got = b""
        while b"first" not in got:
            got += s.recv(65536)
        kong.loop.call_soon_threadsafe(held[0].write, b"4\r\nlast\r\n0\r\n\r\n")
        while b"last" not in got:
            got += s.recv(65536)


def test_refused_timeout_and_missing_peers(kong: Any) -> None:
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
            one("refused", f"http://127.0.0.1:{free_port()}"),
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


def test_a_reused_connection_that_closes_at_once_is_replaced(kong: Any, make_service: Any) -> None:
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
    assert [kong.get("/r", method="POST").status for _ in range(2)] == [200, 200]
    assert (up.connections, len(up.seen)) == (2, 3)


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
    n = 200
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", kong.proxy), 5) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n" * (n - 1))
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        size = 0
        while part := s.recv(1 << 20):
            size += part.count(b"HTTP/1.1 200")
    assert size == n
    assert n / (time.monotonic() - started) > 100
