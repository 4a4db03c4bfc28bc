"""HTTP/1 as bytes: nginx's rules, as measured on Kong 3.9.3."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import wire

H = "Host: h\r\n"


def read(text: str) -> wire.RequestHead:
    data = text.encode("latin-1")
    end = wire.request_end(data)
    assert end
    return wire.request_head(data[:end])


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("GET /r/caf\xc3\xa9 HTTP/1.1", "/r/caf\xc3\xa9"),
        ("GET  /r  HTTP/1.1", "/r"),
        ("G_T-X /r HTTP/1.1", "/r"),
        ("GET http://other.example:80/r?x HTTP/1.1", "/r?x"),
        ("GET http://other.example HTTP/1.1", "/"),
        ("GET /r#frag?x HTTP/1.2", "/r#frag?x"),
    ],
)
def test_request_lines(line: str, target: str) -> None:
    assert read(f"{line}\r\n{H}\r\n").target == target


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("get /r HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET r HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /r HTTP/1.1\r\r\nHost: h\r\n\r\n", 400),
        ("GET /r HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("POST /r\r\n", 400),
        ("garbage\r\n\r\n", 400),
        ("GET /r HTTP/1.1\r\n\r\n", 400),
        ("GET /r HTTP/1.1\r\nHost: \r\n\r\n", 400),
        ("GET /r HTTP/1.1\r\nHost: h/h\r\n\r\n", 400),
        ("GET /r HTTP/1.1\r\nHost: h..h\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Host: i\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Bad Name: 1\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H} Folded: 1\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}X: \x00\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Content-Length: abc\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (f"GET /r HTTP/1.1\r\n{H}Transfer-Encoding: gzip\r\n\r\n", 501),
        ("POST /r HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET /" + "a" * 9000, 414),
        (f"GET / HTTP/1.1\r\n{H}X: " + "a" * 9000, 494),
        (f"GET / HTTP/1.1\r\n{H}" + ("X: " + "a" * 4000 + "\r\n") * 9, 494),
    ],
)
def test_refused(text: str, status: int) -> None:
    with pytest.raises(wire.BadRequest) as e:
        read(text)
    assert e.value.status == status


def test_headers_keep_bytes_and_spelling_and_odd_names_are_dropped() -> None:
    head = read(f"GET / HTTP/1.1\n{H}X_a-B:  \xff \r\nX!: 1\r\nX-\xe9: 1\r\nEmpty:\r\nNoColon\r\n\r\n")
    assert head.headers == [("Host", "h"), ("X_a-B", "\xff"), ("Empty", ""), ("NoColon", "")]
    assert (head.length, head.version) == (0, "1.1")


def test_http_09_needs_no_blank_line() -> None:
    assert read("GET /r\r\n").version == "0.9"


@pytest.mark.parametrize(
    ("data", "end"),
    [(b"", 0), (b"HTT", 0), (b"HTTP/1.1 200 OK\r\nA: b\r\n", 0), (b"hello", -1), (b"HTTP/1.1 2x\r\n", -1)],
)
def test_the_end_of_a_response_head(data: bytes, end: int) -> None:
    assert wire.response_end(data) == end


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: x",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: chunked\r\nContent-Length: 1",
        b"Bad Name: 1",
    ],
)
def test_responses_that_are_none(headers: bytes) -> None:
    with pytest.raises(wire.BadResponse):
        wire.response_head(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n")


def test_a_head_cannot_be_ended_early() -> None:
    data = wire.encode_head("HTTP/1.1 200 OK\r\nX: 1", [("A\r\nB", "c\r\n\r\nd")])
    assert data == b"HTTP/1.1 200 OKX: 1\r\nAB: cd\r\n\r\n"


@settings(max_examples=40)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.binary(max_size=20), st.data())
def test_chunks_in_any_pieces(parts: list[bytes], rest: bytes, data: st.DataObject) -> None:
    whole = b"".join(b"%x;e=1\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\nTrailer: x\r\n\r\n" + rest
    chunks, got, left = wire.Chunked(), b"", whole
    while left and not chunks.done:
        size = data.draw(st.integers(1, len(left)))
        got += chunks.feed(left[:size])
        left = left[size:]
    assert chunks.done
    assert got == b"".join(parts)
    assert chunks.rest + left == rest


@pytest.mark.parametrize("data", [b"zz\r\n", b" 3\r\nabc\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"\r\n"])
def test_chunks_that_break_the_rules(data: bytes) -> None:
    with pytest.raises(wire.BodyError):
        wire.Chunked().feed(data)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    status = 0
    try:
        end = wire.request_end(data)
        if end:
            wire.request_head(data[:end])
    except wire.BadRequest as e:
        status = e.status
    assert status in (0, 400, 405, 414, 494, 501, 505)
