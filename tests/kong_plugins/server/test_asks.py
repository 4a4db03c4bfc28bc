"""Strict limits: one script over all limits of a request, within the budget or not at all."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.engine.ask import BUDGET_SECONDS, Ask
from kong_plugins.server.asks import Asker
from kong_plugins.server.config import RedisConfig
from kong_plugins.server.waits import starter
from tests.pace import within
from tests.redis_server import RedisServer, redis_executable

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    executable = redis_executable()
    if executable is None:
        pytest.skip("no redis-server")
    made = RedisServer(executable, tmp_path_factory.mktemp("redis"))
    made.start()
    yield made
    made.kill()


@pytest.fixture(autouse=True)
def patient(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine 20 ms are over before Redis has run: what is answered is judged without them."""
    if "budget" not in request.node.name:
        monkeypatch.setattr("kong_plugins.server.asks.BUDGET_SECONDS", 5.0)
        monkeypatch.setattr("kong_plugins.server.asks.ANSWER_SECONDS", 5.0)


def limit(key: str, burst: int, name: str = "one", cost: int = 1, emission: int = 3600 * SECOND) -> Ask:
    return Ask("limits", name, (key, emission, burst * emission, cost))


async def ask(asker: Asker, *asks: Ask) -> Any:
    answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asker.ask(asks, answered.set_result)
    return await answered


def run(server_url: str, work: Any) -> Any:
    async def main() -> Any:
        asker = Asker(RedisConfig(url=server_url))
        try:
            # the first one may pay for the connection and the script
            await ask(asker, limit("warm", 100))
            await asyncio.sleep(0.05)
            asker._down_until = 0.0
            return await work(asker)
        finally:
            await asker.close()

    return asyncio.run(main())


def test_a_limit_of_5_admits_5_of_100_that_come_together_from_two_workers(server: RedisServer) -> None:
    async def work(asker: Asker) -> int:
        other = Asker(RedisConfig(url=server.url))
        await ask(other, limit("warm", 1000))
        found = await asyncio.gather(*(ask(one, limit("five", 5)) for one in (asker, other) * 20))
        await other.close()
        assert all(each["one"] is not None for each in found), "the machine is too slow for the budget"
        return sum(each["one"][0] for each in found)

    assert run(server.url, work) == 5


def test_all_or_nothing_over_the_asks_of_a_request(server: RedisServer) -> None:
    async def work(asker: Asker) -> list[Any]:
        rich, poor = limit("rich", 3, "a"), limit("poor", 1, "b")
        return [await ask(asker, rich, poor) for _ in range(4)] + [await ask(asker, rich) for _ in range(3)]

    found = run(server.url, work)
    assert [(each["a"][0], each["b"][0]) for each in found[:4]] == [(True, True)] + 3 * [(True, False)]
    # the three that `poor` refused did not cost anything of `rich`
    assert [each["a"][0] for each in found[4:]] == [True, True, False]


def test_what_is_left_comes_with_the_answer(server: RedisServer) -> None:
    async def work(asker: Asker) -> Any:
        return await ask(asker, limit("tat", 5, cost=2))

    admitted, tats = run(server.url, work)["one"]
    assert admitted
    assert tats[0] / SECOND - time.time() == pytest.approx(7200, abs=5)


def test_what_nobody_uses_leaves_redis_when_it_is_paid_back(server: RedisServer) -> None:
    async def work(asker: Asker) -> list[int]:
        await asker._client.flushdb()
        await ask(asker, limit("short", 5, cost=2, emission=10 * SECOND))
        keys = await asker._client.keys("*limit:*")
        return [await asker._client.pttl(key) for key in keys]

    (left,) = run(server.url, work)
    assert 19_000 < left <= 21_000


def test_a_clock_of_redis_that_went_back_shuts_nobody_out(server: RedisServer) -> None:
    async def work(asker: Asker) -> Any:
        one = limit("back", 5, emission=10 * SECOND)
        await asker._client.flushdb()
        await ask(asker, one)
        (key,) = await asker._client.keys("*limit:*")
        await asker._client.set(key, int(await asker._client.get(key)) + 86_400 * 10**6)
        return await ask(asker, one)

    admitted, tats = run(server.url, work)["one"]
    assert not admitted
    assert tats[0] / SECOND - time.time() == pytest.approx(50, abs=5), "as if the burst were used"


def test_nobody_waits_longer_than_the_budget_and_then_nobody_waits(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kong_plugins.server.asks.DOWN_SECONDS", 60.0)

    async def work(asker: Asker) -> tuple[Any, float]:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            answer = await ask(asker, limit("slow", 5))
            took = time.monotonic() - started
            while asker.is_up:  # until Redis is taken for away
                await asyncio.sleep(0.01)
            return answer, took
        finally:
            os.kill(server.pid, signal.SIGCONT)

    answer, took = run(server.url, work)
    assert answer == {"one": None}
    assert BUDGET_SECONDS * 0.9 <= took < within(0.2)


def test_a_redis_that_forgot_the_script_gets_it_again(server: RedisServer) -> None:
    async def work(asker: Asker) -> Any:
        await asker._client.script_flush()
        return await ask(asker, limit("flushed", 5))

    assert run(server.url, work)["one"][0]


def test_without_redis_the_answer_is_none_at_once(tmp_path: Path) -> None:
    async def main() -> tuple[Any, bool, list[int]]:
        asker = Asker(RedisConfig(url=f"unix://{tmp_path}/nothing.sock"))
        found = await ask(asker, limit("x", 1))
        up = asker.is_up
        assert starter([limit("x", 1)], asker, None) is None, "nobody waits for a Redis that is away"
        counted = [asker.take_unanswered(), asker.take_unanswered()]
        await asker.close()
        return found, up, counted

    assert asyncio.run(main()) == ({"one": None}, False, [2, 0])
