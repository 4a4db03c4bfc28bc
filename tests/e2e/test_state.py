"""What operators set in Redis counts at the gateway, also when Redis is away."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.client import Client
from tests.e2e.gateway import ISSUER, Gateway, token, wait_until


def test_a_revoked_token_is_refused_and_others_are_not(client: Client, operator: Gateway) -> None:
    mine, other = token(jti="e2e-1"), token(jti="e2e-2")
    assert client("/secure/echo", token=mine).status == 200
    operator.kgate("passport", "revoke", "--issuer", ISSUER["iss"], "--token-id", "e2e-1", "--ttl", "5m")
    wait_until(lambda: client("/secure/echo", token=mine).status == 401, 1, "it is refused")
    answer = client("/secure/echo", token=mine)
    assert answer.reason == "token_revoked"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert client("/secure/echo", token=other).status == 200


def test_a_forced_fallback_answers_at_once(client: Client, operator: Gateway) -> None:
    before = operator.reached()
    operator.kgate("fallback", "force", "service:all", "--ttl", "5m")
    try:
        wait_until(lambda: "x-fallback" in client("/all/echo", token=token()).headers, 1, "it is forced")
        before = operator.reached()
        answer = client("/all/echo", token=token())
        assert (answer.status, answer.json) == (200, {"items": []})
        assert answer.headers["x-fallback"] == "empty; reason=forced"
        assert operator.reached() == before, "the service is not asked"
        assert client("/all/echo").status == 401, "it is for those who may"
    finally:
        operator.kgate("fallback", "clear", "service:all")
    wait_until(lambda: "x-fallback" not in client("/all/echo", token=token()).headers, 1, "it is cleared")


def test_a_breaker_held_open_answers_at_once(client: Client, operator: Gateway) -> None:
    operator.kgate("breaker", "open", "route:all", "--ttl", "5m")
    try:
        wait_until(lambda: "x-fallback" in client("/all/echo", token=token()).headers, 1, "it is open")
        assert client("/all/echo", token=token()).headers["x-fallback"] == "empty; reason=open"
        assert client("/secure/echo", token=token()).status == 200
    finally:
        operator.kgate("breaker", "reset", "route:all")
    wait_until(lambda: "x-fallback" not in client("/all/echo", token=token()).headers, 1, "it is closed")


@pytest.fixture
def redis_comes_back(operator: Gateway) -> Iterator[None]:
    yield
    assert operator.redis is not None
    operator.redis.kill()
    operator.redis.start()


@pytest.mark.usefixtures("redis_comes_back")
def test_blocks_and_revocations_outlive_redis(client: Client, operator: Gateway) -> None:
    mine = token(jti="e2e-3")
    operator.kgate("passport", "revoke", "--issuer", ISSUER["iss"], "--token-id", "e2e-3", "--ttl", "5m")
    operator.kgate("block", "add", "127.0.0.77", "--ttl", "5m")
    wait_until(lambda: client("/secure/echo", token=mine).status == 401, 1, "it is refused")
    assert operator.redis is not None
    operator.redis.kill()
    wait_until(lambda: operator.metric("kgate_degraded") == 1.0, 5, "it is noticed")
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        assert client("/secure/echo", token=mine).reason == "token_revoked"
        assert client("/secure/echo", token=token(), source="127.0.0.77").reason == "ip_blocked"
        assert client("/secure/echo", token=token()).status == 200


@pytest.mark.usefixtures("redis_comes_back")
def test_a_new_node_without_redis_closes_its_routes_and_says_why(
    client: Client, operator: Gateway, reached: Callable[[], int]
) -> None:
    assert operator.redis is not None
    operator.signal_server(signal.SIGTERM)
    operator.redis.kill()
    shutil.rmtree(operator.run_dir / "state")
    operator.start_server()
    for _ in range(3):
        answer = client("/secure/echo", token=token())
        assert (answer.status, answer.reason) == (503, "no_state")
    assert client("/open/echo").status == 200, "fail: open"
    assert reached() == 1
    told = "kgate_fail_answers_total"
    wait_until(lambda: operator.metric(told, reason="no_state") == 4, 10, "the metric is told")
    operator.redis.start()
    wait_until(lambda: client("/secure/echo", token=token()).status == 200, 20, "the state is read")
