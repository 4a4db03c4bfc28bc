"""The few plugins of Kong's own that the sandbox has."""

from __future__ import annotations

from typing import Any

import pytest

PREFLIGHT = {"Origin": "https://a.example", "Access-Control-Request-Method": "PUT"}


def test_cors_answers_a_preflight_before_later_plugins(kong: Any, make_service: Any) -> None:
    up, port = kong.upstream()
    config = make_service(port, {"access": "kong.response.exit(401, 'probe')"})
    config["plugins"] = [{"name": "cors", "config": {"origins": ["https://a.example"], "max_age": 60}}]
    kong.load(services=[config])
    answer = kong.get("/r", PREFLIGHT, "OPTIONS")
    assert (answer.status, answer.header("access-control-allow-origin")) == (200, "https://a.example")
    assert "PUT" in answer.header("access-control-allow-methods")
    assert answer.header("access-control-max-age") == "60"
    assert kong.get("/r", {"Origin": "https://a.example"}, "OPTIONS").status == 401
    assert up.seen == []


def test_cors_marks_answers(kong: Any, make_service: Any) -> None:
    _, port = kong.upstream()
    kong.load(services=[{**make_service(port), "plugins": [{"name": "cors"}]}])
    assert kong.get("/r", {"Origin": "x"}).header("access-control-allow-origin") == "*"


@pytest.mark.parametrize(
    ("headers", "path", "status", "user"),
    [
        ({}, "/r", 401, None),
        ({"apikey": "wrong"}, "/r", 401, None),
        ({"apikey": "k1"}, "/r", 200, "bob"),
        ({}, "/r?apikey=k1", 200, "bob"),
    ],
)
def test_key_auth(
    kong: Any, make_service: Any, headers: Any, path: str, status: int, user: str | None
) -> None:
    _, port = kong.upstream()
    kong.load(
        services=[{**make_service(port), "plugins": [{"name": "key-auth"}]}],
        consumers=[{"username": "bob", "keyauth_credentials": [{"key": "k1"}]}],
    )
    answer = kong.get(path, headers)
    assert answer.status == status
    if user:
        assert dict(answer.json["headers"])["X-Consumer-Username"] == user
    else:
        assert answer.header("www-authenticate") == "Key"


def test_request_termination(kong: Any, make_service: Any) -> None:
    plugin = {"name": "request-termination", "config": {"status_code": 403, "message": "So long"}}
    kong.load(services=[{**make_service(1), "plugins": [plugin]}])
    answer = kong.get("/r", {"Accept": "text/html"})
    assert (answer.status, answer.body) == (403, b'{"message":"So long"}')
