"""The shop's servers as containers: `python -m examples.compose.servers issuer|front`.

`issuer` answers /jwks, and /token?user=NAME for trying things out. `front` is a front server: it trusts the passport
alone, whose keys it fetches from the gateway ($GATEWAY_JWKS).
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Callable
from typing import Any

from aiohttp import web

from examples.baedal.servers import Issuer
from kong_plugins.verify import JwksSource, PassportError, verify_passport


def issuer_app(issuer: Issuer) -> web.Application:
    """The login server: its keys, and a token for whoever asks. Never let such a thing out of a laptop."""

    async def token(request: web.Request) -> web.Response:
        return web.Response(text=issuer.token(request.query.get("user", "alice")))

    app = web.Application()
    app.router.add_get("/jwks", issuer.handler())
    app.router.add_get("/token", token)
    app.router.add_get("/healthz", _alive)
    return app


def front_app(name: str, keys: JwksSource) -> web.Application:
    """A front server that says who its passport says the user is."""

    async def answer(request: web.Request) -> web.Response:
        try:
            passport = verify_passport(request.headers.get("X-Passport", ""), keys(), "kgate")
        except PassportError as error:
            # keys are fetched in the background: at the very start there are none yet
            return web.json_response({"server": name, "refused": str(error)}, status=401)
        return web.json_response({"server": name, "user": passport.subject})

    app = web.Application()
    app.router.add_get("/healthz", _alive)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def main(run: Callable[..., Any] = web.run_app) -> None:
    """Serve one of them until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["issuer", "front"])
    parser.add_argument("--name", default="front")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    if args.what == "issuer":
        # a key id of its own for each start: a gateway that knows the last one fetches again
        run(issuer_app(Issuer(f"login-{secrets.token_hex(4)}")), host=args.host, port=args.port, print=None)
        return
    keys = JwksSource(os.environ["GATEWAY_JWKS"], refresh=5)
    keys.start(0)
    run(front_app(args.name, keys), host=args.host, port=args.port, print=None)


if __name__ == "__main__":
    main()
