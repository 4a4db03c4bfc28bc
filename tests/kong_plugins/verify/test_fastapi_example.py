"""examples/fastapi_front.py, asked as a server would ask it."""

import asyncio
import json

import pytest

pytest.importorskip("fastapi")


def ask(app, path, method="GET", passport=None):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [] if passport is None else [(b"x-passport", passport.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
    }
    scope |= {"raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http"}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    asyncio.run(app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)


@pytest.fixture(scope="module")
def app(lasting_gateway):
    from examples.fastapi_front import make_app

    return make_app(lasting_gateway.jwks())


@pytest.mark.parametrize(
    ("path", "method", "claims", "expected"),
    [
        ("/orders", "GET", {"scope": "orders:read"}, 200),
        ("/orders", "GET", {"scope": "orders:write"}, 403),
        ("/orders", "GET", {"scope": "orders:read", "authn_level": "stale"}, 200),
        ("/orders", "GET", {"aud": "bank"}, 401),
        ("/orders", "GET", None, 401),
        ("/refunds", "POST", {}, 200),
        ("/refunds", "POST", {"authn_level": "token_only"}, 503),
    ],
)
def test_a_passport_decides(app, gateway, path, method, claims, expected):
    passport = None if claims is None else gateway.passport(**claims)
    status, body = ask(app, path, method, passport)
    assert status == expected
    if status == 200:
        assert body["user"] == "user-1"
