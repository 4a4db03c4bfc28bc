"""Gives a canary up by itself: errors and latency of both arms, over all workers of the node and all nodes.

Each node cuts its outcomes into strata (sequential.py) and tells them to the others; everybody judges all
strata, so any node can be the one that aborts. An abort is the control state's: it reaches every worker that
follows the same Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kong_plugins.canary_router.abort import AbortIf
from kong_plugins.canary_router.config import Config
from kong_plugins.canary_router.counts import Stratum
from kong_plugins.canary_router.watched import MAX_TOLD, QUIET, Watched
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome
from kong_plugins.state.base import Snapshot

MAX_NODES = 1000
_LAST_NUMBER = 1 << 62


class CanaryAnalyst:
    """See kong_plugins.engine.analyst.Analyst."""

    def __init__(self) -> None:
        self._canaries: dict[str, Watched] = {}

    def configure(self, configs: Sequence[Config]) -> None:
        """A canary whose limits change begins anew; one that is gone is forgotten."""
        limits: dict[str, AbortIf | None] = {}
        for config in configs:
            # of several with one name the newest counts: a plan that was changed is still among them
            limits[config.name] = config.abort_if
        before, self._canaries = self._canaries, {}
        for name, wanted in limits.items():
            known = before.get(name)
            kept = known is not None and known.limits == wanted
            self._canaries[name] = known if known is not None and kept else Watched(name, wanted)

    def _anew(self, old: Watched) -> Watched:
        made = self._canaries[old.name] = Watched(old.name, old.limits)
        made.heard = old.heard  # what was told before is not counted again
        return made

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        """Count them. A canary without a target is given up at the first one."""
        found = []
        for outcome in outcomes:
            name, _, arm = outcome.arm.rpartition("=")
            canary = self._canaries.get(name)
            if canary is None or arm not in ("canary", "control"):
                continue
            if canary.aborted is not None:
                if arm == "control" or canary.confirmed or now - canary.aborted < QUIET:
                    continue
                canary = self._anew(canary)
            if canary.count(outcome, arm, now):
                reason = "its upstream has no healthy target: everybody gets control"
                found.append(canary.abort("no_target", reason, now))
        return found

    def tick(self, now: float) -> list[Conclusion]:
        """Close strata and judge."""
        found = []
        for canary in self._canaries.values():
            stratum = canary.closed(now)
            if stratum is None:
                canary.window.drop(now)
                continue
            canary.keep(stratum, now)
            if canary.aborted is None:
                found += _listed(canary.judge(stratum, now))
        return found

    def merge(self, node: str, told: Mapping[str, Any], now: float) -> list[Conclusion]:
        """Judge another node's strata. What cannot be read is passed over."""
        found = []
        aborted = told.get("aborted")
        for name in aborted if isinstance(aborted, (list, tuple)) else ():
            canary = self._canaries.get(name) if isinstance(name, str) else None
            if canary is not None and canary.aborted is None:
                canary.aborted = now  # that node has said so already
        strata = told.get("strata")
        for name, wires in strata.items() if isinstance(strata, Mapping) else ():
            canary = self._canaries.get(name)
            if canary is None or canary.aborted is not None or not isinstance(wires, (list, tuple)):
                continue
            for each in wires[:MAX_TOLD]:
                try:
                    number, wire = each
                    stratum = Stratum.of(wire, now)
                    if not canary.heard.get(node, 0) < number < _LAST_NUMBER:
                        continue  # told before
                except (TypeError, ValueError):
                    continue
                if len(canary.heard) >= MAX_NODES and node not in canary.heard:
                    canary.heard.clear()
                canary.heard[node] = number
                if canary.aborted is None:
                    found += _listed(canary.judge(stratum, now))
        return found

    def tell(self, now: float) -> Mapping[str, Any] | None:
        """New strata and those of just before, and what was aborted just now."""
        strata = {name: canary.news(now) for name, canary in self._canaries.items() if canary.is_news}
        aborted = [
            name
            for name, canary in self._canaries.items()
            if canary.aborted is not None and 0 <= now - canary.aborted < QUIET / 3
        ]
        return {"strata": strata, "aborted": aborted} if strata or aborted else None

    def see(self, snapshot: Snapshot, now: float) -> None:
        """A new control state: what others have aborted, and what an operator has reset."""
        for name, canary in list(self._canaries.items()):
            override = snapshot.canaries.get(name)
            aborted = override is not None and override.aborted
            if not aborted and canary.confirmed:
                canary = self._anew(canary)
            elif aborted:
                canary.confirmed = True
                canary.aborted = now if canary.aborted is None else canary.aborted
            canary.overridden = override is not None

    def levels(self) -> dict[str, float]:
        """Gauges: "NAME ARM FIGURE" of both arms in the window."""
        found: dict[str, float] = {}
        for name, canary in self._canaries.items():
            figures = canary.figures()
            for arm in ("canary", "control", "pinned"):
                for figure, value in figures[arm].items():
                    if value is not None:
                        found[f"{name} {arm} {figure}"] = float(value)
        return found

    def figures(self) -> dict[str, dict[str, Any]]:
        """Both arms of each canary, for people."""
        return {
            name: {"aborted": canary.aborted, **canary.figures()} for name, canary in self._canaries.items()
        }


def _listed(found: Conclusion | None) -> list[Conclusion]:
    return [] if found is None else [found]
