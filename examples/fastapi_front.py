"""A FastAPI front server behind the gateway.

    pip install fastapi uvicorn 'pyjwt[crypto]'; pip install --no-deps kgate
    GATEWAY_JWKS=http://gateway:8000/.well-known/kgate-jwks.json uvicorn examples.fastapi_front:app

Every request must have a passport of the gateway. Who the user is stands in it; what is sensitive asks that the
gateway could ask for all that it wanted to know (`authn_level: full`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request

from kong_plugins.verify import JwksSource, Passport, PassportKeys
from kong_plugins.verify.asgi import PassportMiddleware

JWKS_URL = "http://127.0.0.1:8000/.well-known/kgate-jwks.json"


def passport(request: Request) -> Passport:
    """The passport that the middleware verified."""
    found: Passport = request.scope["passport"]
    return found


def fully_known(who: Annotated[Passport, Depends(passport)]) -> Passport:
    """For what is sensitive: refuse while the gateway cannot ask for all of a user."""
    if who.authn_level != "full":
        raise HTTPException(503, "Try again later.")
    return who


def needs(scope: str) -> Callable[[Passport], Passport]:
    """A dependency: the passport, if it has the scope."""

    def check(who: Annotated[Passport, Depends(passport)]) -> Passport:
        if scope not in who.scopes:
            raise HTTPException(403, f"The scope {scope} is needed.")
        return who

    return check


Keys = Mapping[str, Any] | PassportKeys | Callable[[], PassportKeys]


def make_app(keys: Keys | None = None, audience: str = "kgate") -> FastAPI:
    """The application. keys: by default those that the gateway publishes, fetched in the background."""
    source = None if keys is not None else JwksSource(os.environ.get("GATEWAY_JWKS", JWKS_URL))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if source is not None:
            source.start()
        yield
        if source is not None:
            source.stop()

    made = FastAPI(title="orders", lifespan=lifespan)
    made.add_middleware(PassportMiddleware, jwks=source or keys, audience=audience)

    @made.get("/orders")
    def orders(who: Annotated[Passport, Depends(needs("orders:read"))]) -> dict[str, Any]:
        return {"user": who.subject, "tier": who.claims.get("tier"), "canary": who.canary, "items": []}

    @made.post("/refunds")
    def refund(who: Annotated[Passport, Depends(fully_known)]) -> dict[str, Any]:
        return {"user": who.subject, "refunded": True}

    return made


app = make_app()
