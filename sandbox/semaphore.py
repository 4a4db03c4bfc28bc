"""ngx.semaphore: a count that light threads wait for, in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class Semaphore:
    """The handle behind one Lua semaphore."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def count(self) -> int:
        """What is free, or less than nothing: how many wait."""
        return self._free - len(self._waiting)

    def take(self) -> bool:
        """Take one without waiting."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def post(self, count: int) -> None:
        """Give some back; those that wait longest go on."""
        self._free += count
        while self._free > 0 and self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                self._free -= 1
                future.set_result(None)

    async def wait(self, seconds: float) -> tuple[Any, ...]:
        """(True,) or (None, "timeout")."""
        if self.take():  # posted between the Lua side's look and this one
            return (True,)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            if future.done() and not future.cancelled():
                self._free += 1  # it was given in the same turn: give it on
                self.post(0)
            return None, "timeout"
        finally:
            if future in self._waiting:
                self._waiting.remove(future)
        return (True,)
