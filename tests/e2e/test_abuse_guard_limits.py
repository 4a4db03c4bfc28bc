"""Limits and scenarios, through the gateway."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import redis

from tests.e2e.client import Client, undisturbed
from tests.e2e.gateway import Gateway, token, wait_until

SOURCES = iter(f"127.40.{third}.{fourth}" for third in range(250) for fourth in range(1, 250))


@pytest.fixture
def source() -> str:
    """An address that no other test uses."""
    return next(SOURCES)


def test_a_limit_admits_its_burst_and_says_what_is_left(client: Client, reached: Callable[[], int]) -> None:
    def send() -> tuple[str, list[int], int]:
        source, before = next(SOURCES), reached()
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: client("/limited/menu/echo", source=source).status, range(40)))
        return source, statuses, reached() - before

    source, statuses, served = undisturbed(client, send)
    assert statuses.count(200) == 20, "over all workers"
    assert statuses.count(429) == 20
    assert served == 20
    answer = client("/limited/menu/echo", source=source)
    assert (answer.status, answer.reason) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"e2e-ip";q=20;w=3600'
    assert answer.headers["ratelimit"].startswith('"e2e-ip";r=0;t=')
    assert 100 <= int(answer.headers["retry-after"]) <= 180
    assert "x-kgate-memo" not in answer.headers
    other = undisturbed(client, lambda: client("/limited/menu/echo", source=next(SOURCES)))
    assert other.headers["ratelimit"].startswith('"e2e-ip";r=19;')


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("/limited/menu/echo", True),
        ("/limited/%6denu/echo", True),
        ("/limited/./menu/echo", True),
        ("/limited/x/../menu/echo", True),
        ("/limited/x/%2e%2e/menu/echo", True),
        ("//limited//menu/echo", True),
        ("/limited/menu/../x/echo", False),
        ("/limited/%2Fmenu/echo", False),
        ("/limited/echo?/limited/menu", False),
    ],
)
def test_paths_are_matched_in_their_normalised_form(
    client: Client, source: str, path: str, counts: bool
) -> None:
    answer = client(path, source=source)
    assert answer.status == 200
    assert ("ratelimit" in answer.headers) == counts


def test_a_strict_limit_is_exact_and_goes_on_without_redis(operator: Gateway, client: Client) -> None:
    def send() -> int:
        address = next(SOURCES)
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda _: client("/strict/echo", source=address).status, range(40))
            return list(found).count(200)

    assert operator.redis is not None
    with redis.Redis.from_url(operator.redis.url) as inside:

        def counted() -> int:
            client("/strict/echo", source=next(SOURCES))
            return len(list(inside.scan_iter("kgate:v2:{default}:limit:*")))

        # one that does not answer in 20 ms is not asked for a second
        wait_until(lambda: counted() >= 2, 5, "Redis counts")
    assert undisturbed(client, send) == 20
    operator.redis.kill()
    try:
        assert undisturbed(client, send) == 20, "exact over the node's workers"
    finally:
        operator.redis.start()
        operator.kgate("block", "add", "127.0.0.98", "--ttl", "5m")
        wait_until(lambda: operator.metric("kgate_degraded") == 0, 10, "the state is followed again")
        operator.kgate("block", "rm", "127.0.0.98")


def test_a_user_s_limit_refuses_beside_a_strict_one_of_his_address(
    operator: Gateway, client: Client, source: str, reached: Callable[[], int]
) -> None:
    users = count()

    def send() -> tuple[str, list[int], int]:
        one, before = f"one-{source}-{next(users)}", reached()
        statuses = [client("/both/echo", token=token(one), source=source).status for _ in range(6)]
        return one, statuses, reached() - before

    one, statuses, served = undisturbed(client, send)
    assert (statuses, served) == ([200, 200, 429, 429, 429, 429], 2)
    other = f"other-{source}"
    answer = client("/both/echo", token=token(one), source=source)
    assert answer.reason == "rate_limited"
    assert answer.headers["ratelimit-policy"] == '"e2e-both-user";q=2;w=3600'
    assert client("/both/echo", token=token(other), source=source).status == 200, "a user of his own"
    assert client("/both/echo", source=source).reason == "token_missing"


@pytest.fixture
def cleared(operator: Gateway, source: str) -> Iterator[Gateway]:
    yield operator
    operator.kgate("block", "rm", source, check=False)


def test_a_scanner_is_blocked_on_his_own(cleared: Gateway, client: Client, source: str) -> None:
    other = next(SOURCES)
    for number in range(12):
        assert client(f"/watched/{number}/status/404", source=source).status in (404, 403)
    wait_until(lambda: client("/watched/echo", source=source).status == 403, 3, "the block")
    answer = client("/watched/echo", source=source)
    assert (answer.status, answer.reason) == (403, "ip_blocked")
    assert client("/watched/echo", source=other).status == 200
    assert client("/guarded/echo", source=source).status == 403, "on every route with abuse-guard"
    found = cleared.kgate("events", "list", "--output", "json").stdout
    assert "block.add" in found
    assert "path-scan" in found
    listed = cleared.kgate("block", "list", "--output", "json").stdout
    assert source in listed
    assert "gateway:" in listed


def test_a_suspect_passes_with_a_score(
    operator: Gateway, gateway: Gateway, client: Client, source: str
) -> None:
    forged = {"X-Abuse-Score": "1", "X_Abuse_Score": "2"}

    def score() -> list[str]:
        client("/watched/orders/echo", headers=forged, source=source)
        return gateway.upstreams["main"].seen[-1].values("X-Abuse-Score")

    assert score() == [], "a client's own word is removed"
    for _ in range(6):
        client("/watched/orders/echo", source=source)
    wait_until(lambda: score() == ['45;reasons="e2e-orders"'], 3, "the mark")
