"""The WSGI and ASGI middlewares, called as their servers call them."""

from __future__ import annotations

import asyncio
import json
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from kong_plugins.verify import PassportKeys
from kong_plugins.verify.asgi import PassportMiddleware as Asgi
from kong_plugins.verify.wsgi import PassportMiddleware as Wsgi


def call_wsgi(token, jwks, **options):
    seen = []

    def app(environ, start_response):
        seen.append(environ["passport"])
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"in"]

    environ = {}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    if token:
        environ["HTTP_X_PASSPORT"] = token
    answer = []
    body = validator(Wsgi(app, jwks, "kgate", **options))(
        environ, lambda status, headers, exc=None: answer.extend((int(status[:3]), dict(headers)))
    )
    try:
        return *answer, b"".join(body), seen
    finally:
        body.close()


def call_asgi(token, jwks, kind="http", **options):
    seen, sent = [], []

    async def app(scope, receive, send):
        seen.append(scope.get("passport"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    async def send(message):
        sent.append(message)

    tokens = [token] if isinstance(token, str) else token
    scope = {"type": kind, "headers": [(b"x-passport", t.encode("latin-1")) for t in tokens if t]}
    asyncio.run(Asgi(app, jwks, "kgate", **options)(scope, None, send))
    return sent, seen


def call(kind, token, jwks, **options):
    if kind == "wsgi":
        return call_wsgi(token, jwks, **options)
    (start, body), seen = call_asgi(token, jwks, **options)
    headers = {name.decode().title(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"], seen


both = pytest.mark.parametrize("kind", ["wsgi", "asgi"])


@both
@pytest.mark.parametrize("form", ["document", "keys", "function"])
def test_good(gateway, kind, form):
    jwks = {"document": gateway.jwks(), "keys": PassportKeys(gateway.jwks()), "function": gateway.jwks}[form]
    status, _, body, seen = call(kind, gateway.passport(), jwks)
    assert (status, body) == (200, b"in")
    assert seen[0].subject == "user-1"


@both
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda g: "", "passport_missing"),
        (lambda g: g.passport(key=g.other), "bad_signature"),
        (lambda g: g.passport(exp=g.now - 60), "passport_expired"),
        (lambda g: g.passport(iss="evil"), "wrong_issuer"),
        (lambda g: "\xff", "passport_malformed"),
    ],
)
def test_refused(gateway, kind, build, reason):
    status, headers, body, seen = call(kind, build(gateway), gateway.jwks())
    assert (status, headers["Content-Type"]) == (401, "application/problem+json")
    assert headers["Content-Length"] == str(len(body))
    assert json.loads(body)["reason"] == reason
    assert seen == []


@both
def test_optional(gateway, kind):
    """No passport is a stranger; a bad passport is refused all the same."""
    status, _, _, seen = call(kind, "", gateway.jwks(), optional=True)
    assert (status, seen) == (200, [None])
    status, _, _, seen = call(kind, gateway.passport(key=gateway.other), gateway.jwks(), optional=True)
    assert (status, seen) == (401, [])


def test_two_passports_are_none(gateway):
    (start, _), seen = call_asgi([gateway.passport(), gateway.passport()], gateway.jwks())
    assert (start["status"], seen) == (401, [])


def test_websocket(gateway):
    sent, seen = call_asgi("", gateway.jwks(), "websocket")
    assert (sent[0]["type"], sent[0]["code"], seen) == ("websocket.close", 1008, [])
    _, seen = call_asgi(gateway.passport(), gateway.jwks(), "websocket")
    assert seen[0].subject == "user-1"


def test_lifespan_passes(gateway):
    _, seen = call_asgi("", gateway.jwks(), "lifespan")
    assert seen == [None]


@both
def test_useless_keys_are_seen_at_the_start(gateway, kind):
    with pytest.raises(ValueError, match="jwks"):
        call(kind, "", {"keys": []})
