"""Holds a request for what its issuer is being asked of the user (`enrich: {wait_ms: ...}`), and not for longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kong_plugins.engine.ask import Ask
from kong_plugins.identity.enrich_config import MOST_WAIT_MS
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.core import ASK_KIND
from kong_plugins.server.asks import Asker

Answers = Mapping[str, Any]
MOST_WAITING = 1_000
"""Requests that are held at once; more go on with what their tokens say."""


class Waits:
    """One per worker, made in its event loop. The answer itself is no part of this: the next decision finds it."""

    def __init__(self, trust: Trust) -> None:
        self._loop = asyncio.get_running_loop()
        self._held: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0
        trust.on_answered(self._answered)

    @property
    def is_full(self) -> bool:
        """Whether no more requests are held."""
        return self._count >= MOST_WAITING

    def _answered(self, digest: bytes) -> None:
        """In a thread of the enrichment: after this decision at the earliest, as the loop is one."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._free, digest.hex())

    def _free(self, digest: str) -> None:
        for future in self._held.pop(digest, ()):
            if not future.done():
                future.set_result(None)

    def ask(self, ask: Ask, done: Callable[[], None]) -> None:
        """Call `done` once, when the question is over or the time is."""
        digest, seconds = str(ask.args[0]), min(float(ask.args[1]), MOST_WAIT_MS / 1000)
        future: asyncio.Future[None] = self._loop.create_future()
        self._held.setdefault(digest, []).append(future)
        self._count += 1
        timer = self._loop.call_later(seconds, self._free_one, digest, future)

        def tell(_future: asyncio.Future[None]) -> None:
            timer.cancel()
            self._count -= 1
            done()

        future.add_done_callback(tell)

    def _free_one(self, digest: str, future: asyncio.Future[None]) -> None:
        held = self._held.get(digest, [])
        if future in held:
            held.remove(future)
        if not held:
            self._held.pop(digest, None)
        if not future.done():
            future.set_result(None)


def starter(
    asks: Sequence[Ask], asker: Asker | None, waits: Waits | None
) -> Callable[[Callable[[Answers], None]], None] | None:
    """Asks all of these at once and tells the answers once, when the last is there. None: nobody would answer."""
    held = [ask for ask in asks if ask.kind == ASK_KIND] if waits is not None and not waits.is_full else []
    limits = [ask for ask in asks if ask.kind != ASK_KIND] if asker is not None else []
    if limits and asker is not None and not asker.is_up:
        asker.unanswered += 1
        limits = []
    if not held and not limits:
        return None

    def start(done: Callable[[Answers], None]) -> None:
        answers: dict[str, Any] = {ask.key: None for ask in asks}
        left = len(held) + bool(limits)

        def more(found: Answers) -> None:
            nonlocal left
            answers.update(found)
            left -= 1
            if not left:
                done(answers)

        if limits:
            assert asker is not None
            asker.ask(limits, more)
        for ask in held:
            assert waits is not None
            waits.ask(ask, lambda: more({}))

    return start
