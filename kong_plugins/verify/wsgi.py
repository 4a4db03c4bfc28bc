"""WSGI middleware: a valid passport in `environ["passport"]`, or 401.

application = PassportMiddleware(application, keys, "kgate")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from kong_plugins.verify.gate import REFUSAL_HEADERS, Gate, Keys, refusal
from kong_plugins.verify.passport import PassportError

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class PassportMiddleware:
    """Wraps a WSGI application (PEP 3333). `environ["passport"]` is a Passport, or None with `optional`."""

    def __init__(
        self,
        app: WsgiApp,
        jwks: Keys,
        audience: str,
        *,
        issuer: str = "kgate",
        leeway: float = 5,
        optional: bool = False,
        profile: str = "kgate",
        header: str = "X-Passport",
    ) -> None:
        self._app = app
        self._gate = Gate(jwks, audience, issuer, leeway, optional, profile)
        self._key = "HTTP_" + header.upper().replace("-", "_")

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            environ["passport"] = self._gate.check(environ.get(self._key, ""))
        except PassportError as error:
            body = refusal(error)
            start_response("401 Unauthorized", [*REFUSAL_HEADERS, ("Content-Length", str(len(body)))])
            return [body]
        return self._app(environ, start_response)
