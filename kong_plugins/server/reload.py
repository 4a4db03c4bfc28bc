"""A reload: a new generation of workers takes over the connections of the old one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Protocol

from kong_plugins.server.handle import Handle

log = logging.getLogger("kgate.supervisor")

READY_SECONDS = 20.0
DRAIN_SECONDS = 3.0


class Fleet(Protocol):
    """The workers, as a reload needs them."""

    generation: int
    workers: list[Handle]

    def spawn(self) -> Handle:
        """Start a worker of the current generation. Raises OSError."""
        ...


async def replace(fleet: Fleet, count: int) -> bool:
    """Start `count` new workers, give them the connections, end the old ones; False: nothing has changed."""
    old = [worker for worker in fleet.workers if not worker.leaving]
    fleet.generation += 1
    new: list[Handle] = []
    try:
        for _ in range(count):
            # one after the other: starting all at once would take the processor from those that serve
            new.append(fleet.spawn())
            await _ready(new)
            if not new[-1].ready:
                break
    except OSError as error:
        log.error("a new worker cannot be started: %s", error.strerror)
    if len(new) < count or not all(worker.ready for worker in new):
        log.error("not reloaded: the new workers did not start; the old ones go on")
        fleet.generation -= 1
        for worker in new:
            worker.leaving = True
            worker.process.kill()
        return False
    for worker in old:
        worker.leaving = True
        worker.send("drain")
    await gone(old, 2 * DRAIN_SECONDS)
    log.info("reloaded: %d new workers", len(new))
    return True


async def _ready(workers: list[Handle]) -> None:
    until = time.monotonic() + READY_SECONDS
    while not all(worker.ready for worker in workers) and time.monotonic() < until:
        if any(worker.process.poll() is not None for worker in workers):
            return
        await asyncio.sleep(0.01)


async def gone(workers: Iterable[Handle], seconds: float) -> None:
    """Wait for the workers' end; after so many seconds they are killed."""
    until = time.monotonic() + seconds
    for worker in workers:
        while worker.process.poll() is None:
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
            await asyncio.sleep(0.005)
