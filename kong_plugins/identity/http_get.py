"""Fetch one small document, in bounded time and size. For background work, never on the request path."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

TIMEOUT = 10.0
"""Seconds for the whole exchange, however slowly the server sends."""
MAX_BYTES = 1024 * 1024


class FetchError(Exception):
    """No document: the message says why and holds nothing of the answer's body."""


class _Deadline:
    """Cuts a connection off when time is up; a socket timeout alone starts anew with each byte."""

    def __init__(self, seconds: float) -> None:
        self._socket: socket.socket | None = None
        self._over = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._over:
            raise TimeoutError("took too long")

    def done(self) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self._over = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _connections(kind: type[http.client.HTTPConnection], deadline: _Deadline) -> Any:
    class Watched(kind):  # type: ignore[misc,valid-type]
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    return Watched


def _opener(scheme: str, deadline: _Deadline) -> urllib.request.OpenerDirector:
    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            kind = _connections(http.client.HTTPConnection, deadline)
            return self.do_open(kind, request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            kind = _connections(http.client.HTTPSConnection, deadline)
            return self.do_open(kind, request)

    class SameScheme(urllib.request.HTTPRedirectHandler):
        max_redirections = 3

        def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: str) -> Any:
            if urllib.parse.urlsplit(newurl).scheme != scheme:
                raise FetchError("redirected to another scheme")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    # an explicit list: the default opener would also read file: and ftp: URLs
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        Http(),
        Https(),
        SameScheme(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def get(url: str, timeout: float = TIMEOUT, max_bytes: int = MAX_BYTES) -> bytes:
    """The body of a 200 answer. timeout is seconds for everything.

    Environment proxies and SSL_CERT_FILE are honoured. Raises FetchError.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise FetchError("only http and https are fetched")
    deadline = _Deadline(timeout)
    headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": "kgate"}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was checked
    try:
        with _opener(scheme, deadline).open(request, timeout=timeout) as answer:
            if answer.status != 200:
                raise FetchError(f"answered {answer.status}")
            body = bytes(answer.read(max_bytes + 1))
            missing = answer.length
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {getattr(error, 'reason', error)}") from error
    finally:
        deadline.done()
    if len(body) > max_bytes:
        raise FetchError(f"the answer is longer than {max_bytes} bytes")
    if missing:
        raise FetchError("the answer was cut off")
    return body
