"""Ask for one small document, in bounded time and size. For background work, never on the request path."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple

TIMEOUT = 10.0
"""Seconds for the whole exchange, however slowly the server sends."""
MAX_BYTES = 1024 * 1024


class FetchError(Exception):
    """No document: the message says why and holds nothing of the answer's body. status: of an answer other than
    200, else 0."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """A 200 answer; header names are in lower case."""

    body: bytes
    headers: Mapping[str, str] = {}


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


def _opener(scheme: str, deadline: _Deadline, follow: bool) -> urllib.request.OpenerDirector:
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
            if not follow:
                raise FetchError("redirected")
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
    """The body of a 200 answer. See `fetch`."""
    return fetch(url, timeout, max_bytes).body


def fetch(
    url: str,
    timeout: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    headers: Mapping[str, str] | None = None,
    form: bytes | None = None,
) -> Answer:
    """A 200 answer to GET, or to a POST of `form`. timeout is seconds for everything.

    Environment proxies and SSL_CERT_FILE are honoured. A request with a form or with own headers is never sent on
    to where a redirect points: it may hold a secret. Raises FetchError.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https"):
        raise FetchError("only http and https are fetched")
    deadline = _Deadline(timeout)
    sent = {"Accept": "application/jwk-set+json, application/json", "User-Agent": "kgate", **(headers or {})}
    request = urllib.request.Request(url, data=form, headers=sent)  # noqa: S310 - the scheme was checked
    follow = form is None and headers is None
    try:
        with _opener(scheme, deadline, follow).open(request, timeout=timeout) as answer:
            if answer.status != 200:
                raise FetchError(f"answered {answer.status}", answer.status)
            body = bytes(answer.read(max_bytes + 1))
            missing = answer.length
            said = {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"answered {error.code}", error.code) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {getattr(error, 'reason', error)}") from error
    finally:
        deadline.done()
    if len(body) > max_bytes:
        raise FetchError(f"the answer is longer than {max_bytes} bytes")
    if missing:
        raise FetchError("the answer was cut off")
    return Answer(body, said)
