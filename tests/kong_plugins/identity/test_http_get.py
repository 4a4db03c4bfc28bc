"""Fetching one document, from servers that behave badly."""

from __future__ import annotations

import contextlib
import time

import pytest

from kong_plugins.identity.http_get import FetchError, get
from tests.pace import within
from tests.ports import refused_port


def test_good(key_server):
    key_server.answer = (200, {}, b"body")
    assert get(key_server.url) == b"body"


def test_redirects_stay_in_the_scheme(key_server):
    def answer(handler):
        handler.send_response(302 if handler.path == "/jwks" else 200)
        handler.send_header("Location", "/other")
        handler.end_headers()
        handler.wfile.write(b"" if handler.path == "/jwks" else b"moved")

    key_server.answer = answer
    assert get(key_server.url) == b"moved"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {}, b""), "404"),
        ((500, {}, b"oops"), "500"),
        ((204, {}, b""), "204"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "302"),
        ((302, {"Location": "https://127.0.0.1/jwks"}, b""), "scheme"),
        ((302, {"Location": "/jwks"}, b""), "302"),
        ((200, {}, b"x" * 1001), "longer than 1000"),
        ((200, {"Content-Length": "999"}, b"x"), "cut off"),
    ],
    ids=str,
)
def test_bad_answers(key_server, answer, message):
    key_server.answer = answer
    with pytest.raises(FetchError, match=message):
        get(key_server.url, max_bytes=1000)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "jar:x"])
def test_other_schemes(url):
    with pytest.raises(FetchError, match="http"):
        get(url)


def test_nobody_there():
    with refused_port() as port, pytest.raises(FetchError, match="refused"):
        get(f"http://127.0.0.1:{port}/jwks")


def test_not_http(key_server):
    key_server.answer = lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n")
    with pytest.raises(FetchError, match="BadStatusLine"):
        get(key_server.url)


def test_a_slow_drip_does_not_take_for_ever(key_server):
    """Each byte comes within the socket's timeout; the whole exchange is limited all the same."""

    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            for _ in range(1000):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass  # cut off, as it should be

    key_server.answer = drip
    began = time.monotonic()
    body = b""
    with contextlib.suppress(FetchError):
        body = get(key_server.url, timeout=0.2)
    assert time.monotonic() - began < within(2)
    assert len(body) < 50


def test_tls(mint, key_server, tmp_path, monkeypatch):
    """A certificate that nobody vouches for is refused; SSL_CERT_FILE names a private authority."""
    (tmp_path / "server.pem").write_bytes(mint.private_pem() + mint.certificate())
    (tmp_path / "ca.pem").write_bytes(mint.certificate())
    key_server.use_tls(tmp_path / "server.pem")
    key_server.answer = (200, {}, b"body")
    with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
        get(key_server.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert get(key_server.url) == b"body"
