"""Requests that wait for their user's enrichment: until the answer, and never longer than they may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from kong_plugins.engine.ask import Ask
from kong_plugins.engine.facts import Identity
from kong_plugins.passport.core import ASK_KIND
from kong_plugins.server import waits as waits_module
from kong_plugins.server.waits import Waits, starter
from tests.pace import within

DIGEST = b"d" * 32
LIMIT = Ask("limit", "limits", ("k", 1, 1, 1))


def about(seconds: float = 5.0, digest: bytes = DIGEST) -> Ask:
    return Ask(ASK_KIND, ASK_KIND, (digest.hex(), seconds), Identity("i", "alice"))


class Told:
    """Stands for Trust: the test calls `tell` as a thread of the enrichment would."""

    def on_answered(self, tell: Callable[[bytes], None]) -> None:
        self.tell = tell


class Limits:
    """Stands for the asker of limits."""

    def __init__(self, is_up: bool = True) -> None:
        self.is_up, self.unanswered = is_up, 0
        self.done: list[Callable[[Any], None]] = []

    def ask(self, asks: Sequence[Ask], done: Callable[[Any], None]) -> None:
        assert [ask.kind for ask in asks] == ["limit"]
        self.done.append(done)


def run(test: Callable[[Waits, Told, list[Any]], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        trust = Told()
        await test(Waits(trust), trust, [])  # type: ignore[arg-type]

    asyncio.run(main())


def test_the_answer_frees_all_that_wait_for_it_and_nobody_else() -> None:
    async def test(waits: Waits, trust: Told, freed: list[Any]) -> None:
        waits.ask(about(), lambda: freed.append("one"))
        waits.ask(about(), lambda: freed.append("two"))
        waits.ask(about(digest=b"e" * 32), lambda: freed.append("other"))
        await asyncio.to_thread(trust.tell, DIGEST)
        await asyncio.sleep(0.01)
        assert freed == ["one", "two"]
        trust.tell(b"e" * 32)
        trust.tell(b"f" * 32)
        await asyncio.sleep(0.01)
        assert freed == ["one", "two", "other"]

    run(test)


def test_nobody_waits_longer_than_he_may() -> None:
    async def test(waits: Waits, trust: Told, freed: list[Any]) -> None:
        loop, at = asyncio.get_running_loop(), dict[int, float]()

        def free(number: int) -> None:
            freed.append(number)
            at[number] = loop.time() - began

        began = loop.time()
        waits.ask(about(0.001), lambda: free(1))
        waits.ask(about(99), lambda: free(2))  # 100 ms at most, whatever is asked for
        while len(freed) < 2:
            await asyncio.sleep(0.01)
        assert freed == [1, 2]
        assert 0.09 < at[2] < within(0.1)
        trust.tell(DIGEST)
        await asyncio.sleep(0.01)
        assert freed == [1, 2], "each once"

    run(test)


def test_limits_and_the_wait_are_one_answer() -> None:
    async def test(waits: Waits, trust: Told, told: list[Any]) -> None:
        limits = Limits()
        start = starter((LIMIT, about()), limits, waits)  # type: ignore[arg-type]
        assert start is not None
        start(told.append)
        trust.tell(DIGEST)
        await asyncio.sleep(0.01)
        assert told == []
        limits.done[0]({"limits": (True, [0])})
        assert told == [{"limits": (True, [0]), ASK_KIND: None}]

    run(test)


def test_where_nobody_would_answer_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits_module, "MOST_WAITING", 1)

    async def test(waits: Waits, trust: Told, told: list[Any]) -> None:
        down = Limits(is_up=False)
        assert starter((LIMIT,), None, waits) is None
        assert starter((LIMIT,), down, waits) is None  # type: ignore[arg-type]
        assert starter((about(),), None, None) is None
        start = starter((LIMIT, about()), down, waits)  # type: ignore[arg-type]
        assert start is not None
        start(told.append)
        assert waits.is_full
        assert starter((about(),), None, waits) is None, "more are not held"
        trust.tell(DIGEST)
        await asyncio.sleep(0.01)
        assert told == [{"limits": None, ASK_KIND: None}]
        assert not waits.is_full

    run(test)
