"""HTTP to Admin APIs over kept connections: one pool a node, as many connections as there are workers.

Plain http.client: it costs a third of what `requests` does for one exchange, and nothing of the environment (proxies,
.netrc) sees the admin's credentials.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from queue import Empty, LifoQueue
from typing import Any, NamedTuple
from urllib.parse import urlsplit

CONNECT_TIMEOUT = 5.0
"""Seconds to get a connection; a pool's `timeout` bounds the answer."""

_MAX_TEXT = 300


_RESET = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class TransportError(Exception):
    """No answer came. sent: whether the request may have reached the node. reset: the node closed the connection."""

    def __init__(self, reason: str, sent: bool, reset: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.sent, self.reset = reason, sent, reset


class Answer(NamedTuple):
    """One answer; header names are lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def fields(self) -> dict[str, Any]:
        """The body as a map, empty when it is none."""
        found = self.json()
        return found if isinstance(found, dict) else {}


class Tls(NamedTuple):
    """File names: the CAs that are believed, and the client's certificate and key. server_name: for a node that
    is known by its address only."""

    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ValueError naming the files that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise ValueError(f"admin.ca {self.ca}: {_text(error)}") from error
        if self.client_cert is not None:
            key = f"admin.client_key {self.client_key}" if self.client_key else "without admin.client_key"
            try:
                context.load_cert_chain(self.client_cert, self.client_key, _no_pass_phrase)
            except (OSError, ValueError) as error:
                raise ValueError(f"admin.client_cert {self.client_cert}, {key}: {_text(error)}") from error
        return context


def _no_pass_phrase() -> str:
    """In place of OpenSSL's own question, for which a job in CI would wait for ever."""
    raise ValueError("the key is encrypted, and its pass phrase cannot be asked for")


class _Connection(http.client.HTTPSConnection):
    """TLS where the name in the certificate is not the address that is connected to."""

    server_name: str | None = None

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=self.server_name or self.host)


class Pool:
    """Connections to one base URL. timeout is seconds for one answer; it is safe to use from several threads."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        tls: Tls | None = None,
    ) -> None:
        parts = urlsplit(url)
        self._https = parts.scheme == "https"
        self._host, self._bad = parts.hostname or "", ""
        try:
            self._port = parts.port or (443 if self._https else 80)
        except ValueError as error:
            self._port, self._bad = 0, str(error)
        self._prefix = parts.path.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout, self._tls = timeout, tls or Tls()
        self._context: ssl.SSLContext | None = None
        self._idle: LifoQueue[http.client.HTTPConnection] = LifoQueue()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One exchange. A kept connection that the node has closed is replaced, once. Raises TransportError."""
        try:
            connection, kept = self._idle.get_nowait(), True
        except Empty:
            connection, kept = self._connected(), False
        try:
            return self._exchange(connection, method, path, body, headers)
        except _RESET as error:
            connection.close()
            # nginx closes idle connections; a request that it had begun to read may have been done, so only what
            # does no harm twice goes out again
            if kept and method != "POST":
                return self._again(method, path, body, headers)
            raise TransportError(_text(error), sent=True, reset=True) from error
        except TimeoutError as error:
            connection.close()
            raise TransportError(f"gave no answer within {self._timeout:g} s", sent=True) from error
        except ssl.SSLError as error:  # TLS 1.3: a server refuses the client's certificate when it is asked
            connection.close()
            raise TransportError(_tls_text(error), sent=True) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise TransportError(_text(error), sent=True) from error

    def _again(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        connection = self._connected()
        try:
            return self._exchange(connection, method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise TransportError(_text(error), sent=True, reset=isinstance(error, _RESET)) from error

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        sent = {**self._headers, **headers} if headers else self._headers
        connection.request(method, self._prefix + path, body, sent)
        answer = connection.getresponse()
        content = answer.read()
        found = {name.lower(): value for name, value in answer.headers.items()}
        if answer.will_close:
            connection.close()
        else:
            self._idle.put(connection)
        return Answer(answer.status, answer.reason, found, content)

    def _connected(self) -> http.client.HTTPConnection:
        """A new connection. Raises TransportError, sent=False."""
        if self._bad:
            raise TransportError(f"cannot be asked: {self._bad}", sent=False)
        if self._https and self._context is None:
            try:
                self._context = self._tls.context()
            except ValueError as error:
                raise TransportError(f"cannot be asked: {error}", sent=False) from error
        limit = min(CONNECT_TIMEOUT, self._timeout)
        connection: http.client.HTTPConnection
        try:
            if self._https:
                secure = _Connection(self._host, self._port, timeout=limit, context=self._context)
                secure.server_name = self._tls.server_name
                connection = secure
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=limit)
            try:
                connection.connect()
            except BaseException:
                connection.close()
                raise
        except ssl.SSLError as error:
            raise TransportError(_tls_text(error), sent=False) from error
        except TimeoutError as error:
            raise TransportError(f"is away: no connection within {limit:g} s", sent=False) from error
        except (OSError, UnicodeError) as error:
            raise TransportError(f"is away: {_text(error)}", sent=False) from error
        connection.sock.settimeout(self._timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def close(self) -> None:
        """Close what is kept."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return


def _tls_text(error: BaseException) -> str:
    return f"TLS failed: {_text(error)}; check admin.ca and admin.client_cert"


def _text(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(str(text or type(error).__name__).split())[:_MAX_TEXT]
