"""What probes and Prometheus are told of the node: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from kong_plugins.server.handle import Handle
from kong_plugins.server.health import Answer, Health, json_answer
from kong_plugins.server.metrics import Metrics


class Probes:
    """Answers from what the workers last told. serving: the workers of now; wanted: how many there should be;
    lanes: the names of the sockets."""

    def __init__(
        self, metrics: Metrics, serving: Callable[[], list[Handle]], wanted: int, lanes: Iterable[str]
    ) -> None:
        self._all = metrics
        self._serving = serving
        self._wanted = wanted
        self._lanes = tuple(lanes)
        self.server = Health({"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics})

    def healthz(self) -> Answer:
        """Alive: at least one worker serves."""
        serving = len(self._serving())
        return json_answer(serving > 0, {"workers": serving, "wanted": self._wanted})

    def readyz(self) -> Answer:
        """Ready: all workers serve, the control state is fresh, every issuer has keys."""
        stats = [worker.stats for worker in self._serving()]
        problems = []
        if len(stats) < self._wanted:
            problems.append(f"{len(stats)} of {self._wanted} workers serve")
        if not all(each.get("state") for each in stats):
            problems.append("the control state was never read: protected routes are closed (no_state)")
        elif any(each.get("degraded") for each in stats):
            problems.append("the control state may be old: its store is away")
        problems += [f"no key of issuer {name}" for name in self._without_keys()]
        return json_answer(not problems, {"ready": not problems, "problems": problems})

    def metrics(self) -> Answer:
        """The exposition format of Prometheus."""
        serving = self._serving()
        connections = Counter(dict.fromkeys(self._lanes, 0))
        for worker in serving:
            connections.update(worker.connections)
        self._all.node(
            workers=len(serving),
            connections=dict(connections),
            degraded=any(worker.stats.get("degraded", True) for worker in serving),
            age=max((worker.stats.get("age", 0.0) for worker in serving), default=0.0),
            without_keys=len(self._without_keys()),
        )
        return 200, "text/plain; version=0.0.4; charset=utf-8", self._all.text()

    def _without_keys(self) -> list[str]:
        return sorted({name for worker in self._serving() for name in worker.stats.get("without_keys", [])})
