"""What probes and Prometheus are told of the node: /healthz, /readyz, /metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from kong_plugins.engine.registry import VERSION
from kong_plugins.server.handle import Handle
from kong_plugins.server.health import Answer, Health, json_answer
from kong_plugins.server.keeping import Health as StateHealth
from kong_plugins.server.metrics import Metrics


class Probes:
    """Answers from what the workers last told. serving: the workers of now; state: how current the control state is;
    wanted: how many workers there should be; lanes: the names of the sockets."""

    def __init__(
        self,
        metrics: Metrics,
        serving: Callable[[], list[Handle]],
        state: Callable[[], StateHealth],
        wanted: int,
        lanes: Iterable[str],
    ) -> None:
        self._all = metrics
        self._serving = serving
        self._state = state
        self._wanted = wanted
        self._lanes = tuple(lanes)
        self.server = Health({"/healthz": self.healthz, "/readyz": self.readyz, "/metrics": self.metrics})

    def healthz(self) -> Answer:
        """Alive: at least one worker serves."""
        serving = len(self._serving())
        return json_answer(serving > 0, {"workers": serving, "wanted": self._wanted, "version": VERSION})

    def readyz(self) -> Answer:
        """Ready: all workers serve, each has a control state, every issuer has keys.

        An old control state is a warning: were nodes taken out for it, the end of Redis would be the end of all.
        """
        stats = [worker.stats for worker in self._serving()]
        problems = []
        if len(stats) < self._wanted:
            problems.append(f"{len(stats)} of {self._wanted} workers serve")
        if not all(each.get("state") for each in stats):
            problems.append("the control state was never read: protected routes are closed (no_state)")
        problems += [f"no key of issuer {name}" for name in self._named("without_keys")]
        warnings = [
            f"list {name} is named but not there: it counts as empty" for name in self._named("missing_lists")
        ]
        state = self._state()
        if state.degraded:
            warnings.append(f"the control state may be old: last confirmed {state.age:.0f} s ago")
        told = {"ready": not problems, "problems": problems, "warnings": warnings}
        return json_answer(not problems, told)

    def metrics(self) -> Answer:
        """The exposition format of Prometheus."""
        serving = self._serving()
        connections = Counter(dict.fromkeys(self._lanes, 0))
        for worker in serving:
            connections.update(worker.connections)
        self._all.node(
            workers=len(serving),
            connections=dict(connections),
            without_keys=len(self._named("without_keys")),
        )
        self._all.trust([worker.stats["trust"] for worker in serving if "trust" in worker.stats])
        # what the slowest worker serves with: it is that one that lets a revoked token pass
        version = min((worker.stats.get("version", 0) for worker in serving), default=0)
        state = self._state()
        self._all.state(state.degraded, state.age, version, state.blocks)
        return 200, "text/plain; version=0.0.4; charset=utf-8", self._all.text()

    def _named(self, stat: str) -> list[str]:
        return sorted({name for worker in self._serving() for name in worker.stats.get(stat, [])})
