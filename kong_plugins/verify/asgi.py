"""ASGI middleware: a valid passport in `scope["passport"]`, or 401.

app = PassportMiddleware(app, keys, "kgate")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kong_plugins.verify.gate import REFUSAL_HEADERS, Gate, Keys, refusal
from kong_plugins.verify.passport import PassportError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class PassportMiddleware:
    """Wraps an ASGI 3 application. `scope["passport"]` is a Passport, or None with `optional`."""

    def __init__(
        self,
        app: AsgiApp,
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
        self._header = header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        sent = [value for name, value in scope["headers"] if name.lower() == self._header]
        try:
            # two passports: joined they are no token, so neither is believed
            scope["passport"] = self._gate.check(b",".join(sent).decode("latin-1"))
        except PassportError as error:
            await _refuse(scope, send, error)
            return
        await self._app(scope, receive, send)


async def _refuse(scope: Scope, send: Send, error: PassportError) -> None:
    if scope["type"] == "websocket":
        # before the accept this is a refused handshake: the server answers 403
        await send({"type": "websocket.close", "code": 1008, "reason": error.reason})
        return
    body = refusal(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in REFUSAL_HEADERS]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
