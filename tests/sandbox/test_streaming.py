"""Bodies on their way through the proxy: flow, size, framing, and who broke off."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

MEGABYTE = 1 << 20


def read_head(s: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        if not part:
            break
        data += part
    return data


class Sink:
    """An upstream that counts the bytes of a request's body and answers with `size` bytes."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.received = 0
        self.size = 0
        self.first = threading.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            names = {a.lower(): b.strip() for a, _, b in (x.partition(b":") for x in head.split(b"\r\n"))}
            length = int(names.get(b"content-length", b"0"))
            chunked = b"transfer-encoding" in names
            seen = b""
            while self.received < length or (chunked and not seen.endswith(b"0\r\n\r\n")):
                part = await reader.read(65536)
                if not part:
                    return
                self.received += len(part)
                seen = (seen + part)[-5:]
                self.first.set()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size)
            for _ in range(self.size // 65536):
                writer.write(bytes(65536))
                await writer.drain()


@pytest.fixture
def sink(kong: Any, make_service: Any) -> Sink:
    sink = Sink()

    async def start() -> int:
        server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
        kong.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    config = make_service(kong.call(start()))
    config["routes"].append({"name": "stream", "paths": ["/stream"], "request_buffering": False})
    kong.load(services=[config])
    return sink


def resident() -> float:
    """Megabytes that this process (client, sandbox and upstream in one) has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MEGABYTE


@pytest.mark.parametrize("path", ["/r", "/stream"])
def test_a_large_upload_stays_out_of_memory(kong: Any, sink: Sink, path: str) -> None:
    before, most = resident(), 0.0
    with socket.create_connection(("127.0.0.1", kong.proxy), 20) as s:
        s.sendall(f"PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {100 * MEGABYTE}\r\n\r\n".encode())
        for _ in range(100):
            s.sendall(bytes(MEGABYTE))
            most = max(most, resident())
        assert b" 200 OK" in read_head(s)
    assert sink.received == 100 * MEGABYTE
    assert max(most, resident()) - before < 20


def test_a_large_download_stays_out_of_memory(kong: Any, sink: Sink) -> None:
    sink.size = 100 * MEGABYTE
    before, most = resident(), 0.0
    with socket.create_connection(("127.0.0.1", kong.proxy), 20) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        data = bytearray(MEGABYTE)
        got = 0
        while n := s.recv_into(data):
            got += n
            most = max(most, resident())
    assert got > sink.size
    assert most - before < 20


def test_without_request_buffering_the_upstream_sees_the_body_as_it_comes(kong: Any, sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"POST /stream HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert sink.first.wait(30)
        assert b"transfer-encoding: chunked" in sink.heads[0].lower()
        s.sendall(b"0\r\n\r\n")
        assert b" 200 OK" in read_head(s)


def test_with_request_buffering_the_upstream_gets_it_whole_with_its_length(kong: Any, sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert not sink.first.wait(0.1)
        s.sendall(b"1;ext=1\r\n!\r\n0\r\nTrailer: x\r\n\r\n")
        assert b" 200 OK" in read_head(s)
    assert b"Content-Length: 6\r\n" in sink.heads[0]


def test_expect_100_continue(kong: Any, sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"PUT /r HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert read_head(s) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(b"abc")
        assert b" 200 OK" in read_head(s)
    assert b"Expect" not in sink.heads[0]


def test_a_broken_chunk_is_400_and_nothing_goes_up(kong: Any, sink: Sink, raw_send: Any) -> None:
    head = b"POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    out = raw_send(kong.proxy, head + b"zz\r\nabc\r\n0\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert sink.heads == []


def test_the_limit_of_a_body(box: Any, make_service: Any, raw_send: Any) -> None:
    up, port = box.upstream()
    box.start(KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE="1k")
    box.load(services=[make_service(port)])
    head = b"POST /r HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    assert raw_send(box.proxy, head + b"Content-Length: 1024\r\n\r\n" + bytes(1024)).startswith(
        b"HTTP/1.1 200"
    )
    for body in (
        b"Content-Length: 1025\r\n\r\n" + bytes(1025),
        b"Transfer-Encoding: chunked\r\n\r\n800\r\n" + bytes(0x800) + b"\r\n0\r\n\r\n",
    ):
        out = raw_send(box.proxy, head + body)
        assert out.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
        assert b"\r\n\r\nPayload too large\nrequest_id: " in out
    assert len(up.seen) == 1


def test_a_client_that_leaves_in_its_body_ends_the_request(kong: Any, sink: Sink) -> None:
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"PUT /stream HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome")
        assert sink.first.wait(30)
    deadline = time.monotonic() + 30
    while sink.received < 100 and time.monotonic() < deadline:
        if kong.get("/none").status == 404:
            break
    assert sink.received == 4


@pytest.mark.parametrize(
    "ahead", [b"", b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n"], ids=["", "with a next request"]
)
def test_a_client_that_leaves_in_the_answer_ends_the_request(
    kong: Any, make_service: Any, ahead: bytes
) -> None:
    ended = threading.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
            if not await reader.read(1):
                ended.set()

    async def start() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        kong.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    kong.load(services=[make_service(kong.call(start()))])
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n" + ahead)
        assert b"200 OK" in read_head(s)
    assert ended.wait(30)


def test_a_client_that_leaves_after_a_streamed_body_ends_the_request(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    up.script = lambda head, writer: None
    config = make_service(port)
    config["routes"][0]["request_buffering"] = False
    log = {"log": "ngx.shared.kong:set('left', ngx.status)"}
    config["routes"][0]["plugins"] = [{"name": "probe", "config": log}]
    show = {"access": "return kong.response.exit(200, tostring(ngx.shared.kong:get('left')))"}
    read = {"name": "read", "paths": ["/read"], "plugins": [{"name": "probe", "config": show}]}
    kong.load(services=[{**config, "routes": [*config["routes"], read]}])
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"PUT /r HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nsome")
        deadline = time.monotonic() + 30
        while not up.seen and time.monotonic() < deadline:
            time.sleep(0.005)
    while kong.get("/read").body != b"499" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert kong.get("/read").body == b"499"


def test_websocket_is_passed_on_and_tunnelled(kong: Any, make_service: Any) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello"
        )
        with contextlib.closing(writer):
            while data := await reader.read(100):
                writer.write(data.upper())

    async def start() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        kong.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    kong.load(services=[make_service(kong.call(start()))])
    with socket.create_connection(("127.0.0.1", kong.proxy), 30) as s:
        s.sendall(b"GET /r HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        data = read_head(s)
        assert data.startswith(b"HTTP/1.1 101 ")
        while b"hello" not in data:
            data += s.recv(100)
        s.sendall(b"ping")
        assert s.recv(100) == b"PING"
    assert b"Connection: keep-alive, Upgrade\r\n" in heads[0]
    assert b"Upgrade: websocket\r\n" in heads[0]


def test_an_upstream_without_http_is_passed_as_it_is(kong: Any, make_service: Any, raw_send: Any) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"no http at all\r\n")
        writer.close()

    async def start() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        kong.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    kong.load(services=[make_service(kong.call(start()))])
    assert raw_send(kong.proxy, b"GET /r HTTP/1.1\r\nHost: h\r\n\r\n") == b"no http at all\r\n"


def test_an_upstream_that_takes_nothing_is_a_timeout(kong: Any, make_service: Any) -> None:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await done.wait()

    async def start() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1)
        kong.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    kong.load(services=[make_service(kong.call(start()), retries=0, write_timeout=50, read_timeout=50)])
    size = 32 * MEGABYTE
    with socket.create_connection(("127.0.0.1", kong.proxy), 20) as s:
        s.sendall(f"PUT /r HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(32):
            s.sendall(bytes(MEGABYTE))
        assert b"HTTP/1.1 504 Gateway Time-out\r\n" in read_head(s)
    kong.loop.call_soon_threadsafe(done.set)
