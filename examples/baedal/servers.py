"""The shop's own servers, small: a JWKS issuer, front servers and the domain services behind my-page.

A front server trusts nothing but the passport. It verifies it with kgate's helper and never sees how the
client logged in. my-page shows what a front server does and the gateway does not: it asks several domain
services, each of which verifies the same passport, and composes one answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import aiohttp
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from kong_plugins.verify import PassportError, verify_passport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

ISSUER = "https://auth.baedal.example"
AUDIENCE = "baedal"


class Issuer:
    """The shop's login server, as far as the gateway sees it: a JWKS and tokens."""

    def __init__(self, kid: str = "login-1") -> None:
        self._key, self._kid = generate_private_key(SECP256R1()), kid
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        self.jwks = {"keys": [{**public, "kid": kid, "alg": "ES256", "use": "sig"}]}

    def token(self, user: str, seconds: float = 3600) -> str:
        """A token of `user` that is valid for `seconds` from now."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": now + int(seconds)}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._kid})

    def handler(self) -> Handler:
        async def jwks(_request: web.Request) -> web.Response:
            return web.json_response(self.jwks)

        return jwks


def front(name: str, passport_jwks: Callable[[], dict[str, Any]], seen: list[str]) -> Handler:
    """A front server that says who the passport says the user is. `seen` collects what reached it."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        try:
            passport = verify_passport(request.headers.get("X-Passport", ""), passport_jwks(), "kgate")
        except PassportError as error:
            return web.json_response({"server": name, "refused": str(error)}, status=401)
        return web.json_response(
            {
                "server": name,
                "user": passport.subject,
                "canary": request.headers.get("X-Canary", ""),
                # what a WSGI server would take for the same header
                "twins": [
                    key for key in request.headers if "passport" in key.lower() and key != "X-Passport"
                ],
            }
        )

    return answer


def my_page(domains: Callable[[], list[str]], passport_jwks: Callable[[], dict[str, Any]]) -> Handler:
    """The front server that composes: it sends the passport on to each domain service."""

    async def answer(request: web.Request) -> web.Response:
        token = request.headers.get("X-Passport", "")
        try:
            passport = verify_passport(token, passport_jwks(), "kgate")
        except PassportError as error:
            return web.json_response({"refused": str(error)}, status=401)
        parts: dict[str, Any] = {}
        async with aiohttp.ClientSession() as session:
            for url in domains():
                async with session.get(url, headers={"X-Passport": token}) as reply:
                    part = await reply.json()
                    parts[part["server"]] = part.get("user")
        return web.json_response({"user": passport.subject, "parts": parts})

    return answer


class Servers:
    """Named loopback servers in one background thread; each can be stopped and started again."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._running: dict[str, web.AppRunner] = {}
        self._handlers: dict[str, tuple[Handler, int]] = {}

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def add(self, name: str, handler: Handler) -> str:
        """Start a server on a free port; its address, host:port."""
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        self._handlers[name] = (handler, port)
        self.start(name)
        return f"127.0.0.1:{port}"

    def start(self, name: str) -> None:
        """Start a server (again) on its own port."""
        handler, port = self._handlers[name]

        async def run() -> web.AppRunner:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
            return runner

        self._running[name] = self._do(run())

    def stop(self, name: str) -> None:
        """Stop one server: connections to it are refused from now on."""
        self._do(self._running.pop(name).cleanup())

    def close(self) -> None:
        """Stop all of them and the thread."""
        for name in list(self._running):
            self.stop(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
