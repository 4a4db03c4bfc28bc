"""All configs that Kong has started, told to every worker: any message of any event may reach any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kong_plugins.server.bounded import Bounded
from kong_plugins.server.handle import Handle

KEPT_CONFIGS = 20_000


class Broadcast:
    """Keeps the configs in memory; StartInstance is answered when all workers that serve know the new one."""

    def __init__(self) -> None:
        self._configs = Bounded(KEPT_CONFIGS)
        self._waiting: dict[int, tuple[set[int], Callable[[], None]]] = {}
        self._number = 0

    def greet(self, worker: Handle) -> None:
        """Tell a new worker all of them, before it gets its first connection."""
        for plugin, text in self._configs.values():
            worker.send("config", plugin, text, 0)

    def announce(
        self, origin: Handle, workers: Iterable[Handle], number: int, plugin: str, text: str
    ) -> None:
        """Tell the others of a config that `origin` took; it hears `announced` when they know it.

        A worker that is still starting is told, but not waited for: the channel keeps the order, so it knows the
        config before its first connection.
        """
        self._configs.put((plugin, text), (plugin, text))
        self._number += 1
        others = [worker for worker in workers if worker is not origin and worker.channel is not None]
        pids = {worker.pid for worker in others if worker.ready}
        if pids:
            self._waiting[self._number] = (pids, lambda: origin.send("announced", number))
        for worker in others:
            worker.send("config", plugin, text, self._number if worker.ready else 0)
        if not pids:
            origin.send("announced", number)

    def known(self, worker: Handle, number: int) -> None:
        """A worker knows the config of this announcement."""
        waiting = self._waiting.get(number)
        if waiting is None:
            return
        pids, done = waiting
        pids.discard(worker.pid)
        if not pids:
            del self._waiting[number]
            done()

    def forget(self, worker: Handle) -> None:
        """A worker has ended: nobody waits for it."""
        for number in list(self._waiting):
            self.known(worker, number)
