"""Answers the filters' asks: strict limits, by one Redis script a request.

Asks that come together go out together, in one pipeline of one connection. Whoever waited for 20 ms is told None and
decides by what the node knows. After a failure nobody is made to wait for a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from kong_plugins.engine.ask import BUDGET_SECONDS, Ask
from kong_plugins.server.config import RedisConfig
from kong_plugins.state import scripts
from kong_plugins.state.connection import connect, key_prefix
from kong_plugins.state.redis_limits import strict_key

log = logging.getLogger("kgate.asks")

DOWN_SECONDS = 1.0
ANSWER_SECONDS = 0.25
"""Redis is taken for away when it has not answered for so long; the requests have gone on long before."""
MOST_WAITING = 1_000
MOST_AT_ONCE = 100
_PARTS = 4

Answers = Mapping[str, Any]


class _Waiting(NamedTuple):
    asks: Sequence[Ask]
    answered: asyncio.Future[list[int]]


def charges_of(ask: Ask) -> list[tuple[str, int, int, int]]:
    """The limits of an ask: key, emission and burst in nanoseconds, cost."""
    args: Sequence[Any] = ask.args
    return [tuple(args[n : n + _PARTS]) for n in range(0, len(args), _PARTS)]


def read_answer(asks: Sequence[Ask], found: Sequence[int], now_ns: int) -> Answers:
    """The script's answer by ask: (whether its limits admit, their TATs in nanoseconds)."""
    answers: dict[str, Any] = {}
    place = 0
    for ask in asks:
        count = len(ask.args) // _PARTS
        mine = found[place : place + 2 * count]
        place += 2 * count
        answers[ask.key] = (all(mine[::2]), [now_ns + ahead * 1000 for ahead in mine[1::2]])
    return answers


class Asker:
    """One per worker, in its event loop. clock: seconds of the clock that limits count by."""

    def __init__(self, config: RedisConfig, clock: Callable[[], float] = time.time) -> None:
        self._prefix = key_prefix(config.namespace)
        self._clock = clock
        self._client = connect(
            config.url or "",
            config.ca_file,
            redis.asyncio.Redis,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=ANSWER_SECONDS,
            decode_responses=False,
            max_connections=2,
        )
        self._source = scripts.source("limits")
        self._sha = sha1(self._source.encode(), usedforsecurity=False).hexdigest()
        self._queue: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None
        self._down_until = 0.0
        self.unanswered = 0
        """Requests that were told None, or not asked for because Redis is away, since they were last taken."""

    @property
    def is_up(self) -> bool:
        """Whether asking is worth the wait."""
        return time.monotonic() >= self._down_until and len(self._queue) < MOST_WAITING

    def ask(self, asks: Sequence[Ask], done: Callable[[Answers], None]) -> None:
        """Ask; `done` is called once, within the budget, in the event loop."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[list[int]] = loop.create_future()
        self._queue.append(_Waiting(asks, answered))
        timer = loop.call_later(BUDGET_SECONDS, self._give_up, answered)

        def tell(_future: asyncio.Future[list[int]]) -> None:
            timer.cancel()
            found = answered.result()
            if found:
                done(read_answer(asks, found, int(self._clock() * 1e9)))
            else:
                self.unanswered += 1
                done({ask.key: None for ask in asks})

        answered.add_done_callback(tell)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())

    def take_unanswered(self) -> int:
        """`unanswered`, which begins anew."""
        found, self.unanswered = self.unanswered, 0
        return found

    async def close(self) -> None:
        """Stop; who still waits is told None."""
        if self._task is not None:
            self._task.cancel()
        for waiting in self._queue:
            self._give_up(waiting.answered)
        await self._client.aclose()

    @staticmethod
    def _give_up(answered: asyncio.Future[list[int]]) -> None:
        if not answered.done():
            answered.set_result([])

    async def _run(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:MOST_AT_ONCE], self._queue[MOST_AT_ONCE:]
            # whoever was told already must not be counted
            batch = [waiting for waiting in batch if not waiting.answered.done()]
            if not batch:
                continue
            try:
                found = await self._send(batch)
            except (redis.RedisError, OSError, TimeoutError) as error:
                if time.monotonic() >= self._down_until:
                    log.warning("strict limits count on this node alone: %s", error)
                self._down_until = time.monotonic() + DOWN_SECONDS
                found = [[]] * len(batch)
            for waiting, answer in zip(batch, found, strict=True):
                if not waiting.answered.done():
                    waiting.answered.set_result(answer)

    async def _send(self, batch: Sequence[_Waiting]) -> list[list[int]]:
        calls = []
        for waiting in batch:
            charges = [charge for ask in waiting.asks for charge in charges_of(ask)]
            keys = [self._key(charge[0]) for charge in charges]
            args = [
                number
                for _, emission, burst, cost in charges
                for number in (emission / 1e3, burst / 1e3, cost)
            ]
            calls.append((len(keys), *keys, *args))
        found = await self._call(calls)
        missing = [number for number, answer in enumerate(found) if isinstance(answer, NoScriptError)]
        if missing:  # Redis was started again: these did nothing
            self._sha = await self._client.script_load(self._source)
            again = await self._call([calls[number] for number in missing])
            for number, answer in zip(missing, again, strict=True):
                found[number] = answer
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    async def _call(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.evalsha(self._sha, *call)
        found: list[Any] = await pipeline.execute(raise_on_error=False)
        return found

    def _key(self, key: str) -> str:
        return strict_key(self._prefix, key)
