"""Gives a canary up by itself: errors and latency of both arms, over all workers of the node and all nodes.

Each node cuts its outcomes into strata (sequential.py) and tells them to the others; everybody judges all
strata, so any node can be the one that aborts. An abort is the control state's: it reaches every worker that
follows the same Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kong_plugins.canary_router.abort import AbortIf
from kong_plugins.canary_router.away import set_away
from kong_plugins.canary_router.config import DRAWN, PINNED, Config
from kong_plugins.canary_router.counts import Stratum, seen_of
from kong_plugins.canary_router.watched import MAX_TOLD, QUIET, Watched
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome, memo_of
from kong_plugins.state.base import Snapshot
from kong_plugins.state.cells import Cells

MAX_NODES = 1000
CHANGE_OVER = 5.0
"""Seconds without the limits in use after which others that a request names are taken."""
IDLE_SECONDS = 3_600.0
TELL_AGAIN = 60.0
"""Seconds without a word after which a rule's upstream that is still away is told of again."""
_LAST_NUMBER = 1 << 62


class CanaryAnalyst:
    """See kong_plugins.engine.analyst.Analyst."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = cells
        self._away: dict[str, float] = {}
        """When an arm of a rule was last told to have no target."""
        self._canaries: dict[str, Watched] = {}
        self._limits: dict[str, dict[str, AbortIf | None]] = {}
        self._now = 0.0

    def configure(self, configs: Sequence[Config]) -> None:
        """A canary whose limits change begins anew, one that is gone is forgotten."""
        before, self._limits = self._limits, {}
        for config in configs:
            self._limits.setdefault(config.name, {})[config.limits_tag] = config.abort_if
        self._canaries = {name: one for name, one in self._canaries.items() if name in self._limits}
        for name, known in self._limits.items():
            tag = list(known)[-1]
            held = self._canaries.get(name)
            # one that was not there before is what was just pushed; what is in use else, the outcomes say
            stays = held is not None and (
                held.tag == tag or (held.tag in known and tag in before.get(name, {}))
            )
            if not stays:
                self._canaries[name] = Watched(name, known[tag], tag)

    def _anew(self, old: Watched, tag: str = "") -> Watched:
        tag = tag or old.tag
        made = self._canaries[old.name] = Watched(old.name, self._limits[old.name][tag], tag)
        made.heard = old.heard  # what was told before is not counted again
        return made

    def _watched(self, name: str, tag: str, now: float) -> Watched | None:
        """The canary with the limits that are in use: plans are also taken back, and of what it was told before the
        analysis hears nothing again. Workers change over within a moment: the other tag counts when that is past."""
        canary = self._canaries.get(name)
        if canary is None:
            return None
        if not tag or tag == canary.tag:
            canary.tag_seen = now
        elif tag in self._limits[name] and now - canary.tag_seen > CHANGE_OVER:
            canary = self._anew(canary, tag)
            canary.tag_seen = now
        canary.used = now
        return canary

    def concerned(self, kind: Outcome) -> bool:
        """Those of an arm."""
        return kind.arm != ""

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        """Count them. A canary without a target is given up at the first one."""
        found = []
        for outcome in outcomes:
            name, arm = _name_and_arm(outcome.arm)
            if arm not in ("canary", "control"):
                found += self._look_at_rule(outcome, name, now)
                continue
            drawn, tag = _tag(outcome.memo)
            canary = self._watched(name, tag, now)
            if canary is None:
                continue
            if canary.aborted is not None:
                if arm == "control" or canary.confirmed or now - canary.aborted < QUIET:
                    continue
                canary = self._anew(canary)
            if canary.count(outcome, arm, drawn, now):
                reason = "its upstream has no healthy target: everybody gets control"
                found.append(canary.abort("no_target", reason, now))
        return found

    def _look_at_rule(self, outcome: Outcome, name: str, now: float) -> list[Conclusion]:
        seen = seen_of(outcome)
        if seen is None or not seen.no_target or name not in self._limits or self._cells is None:
            return []
        set_away(self._cells, outcome.arm, now)
        told = self._away.get(outcome.arm, 0.0)
        self._away[outcome.arm] = now
        if now - told < TELL_AGAIN:
            return []
        reason = f"the upstream of {outcome.arm} has no healthy target: its users get control"
        return [Conclusion("canary.no_target", name, reason, {"arm": outcome.arm})]

    def tick(self, now: float) -> list[Conclusion]:
        """Close strata and judge."""
        self._now = now
        found = []
        for canary in self._canaries.values():
            stratum = canary.closed(now)
            if stratum is None:
                canary.window.drop(now)
                continue
            canary.store(stratum, now)
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
        """Gauges: "NAME ARM FIGURE" of both arms in the window; of canaries without requests for an hour nothing."""
        found: dict[str, float] = {}
        for name, canary in self._canaries.items():
            if self._now - canary.used > IDLE_SECONDS:
                continue
            figures = canary.figures()
            for arm in ("canary", "control", "pinned"):
                for figure, value in figures[arm].items():
                    if value is not None:
                        found[f"{name} {arm} {figure}"] = float(value)
        return found

    def keep(self) -> dict[str, Any]:
        """What was counted and how far the tests are, for the process that takes over."""
        return {name: canary.keep() for name, canary in self._canaries.items()}

    def resume(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on where the process before stood, for what is still configured."""
        for name, state in kept.items():
            tag = state[0]
            if tag in self._limits.get(name, {}):
                made = Watched(name, self._limits[name][tag], tag)
                made.resume(state, now)
                made.used = made.tag_seen = now
                self._canaries[name] = made

    def figures(self) -> dict[str, dict[str, Any]]:
        """Both arms of each canary, for people."""
        return {
            name: {"aborted": canary.aborted, **canary.figures()} for name, canary in self._canaries.items()
        }


# every outcome comes here, and most are alike


@lru_cache(maxsize=1024)
def _name_and_arm(text: str) -> tuple[str, str]:
    name, _, arm = text.rpartition("=")
    return name, arm


@lru_cache(maxsize=1024)
def _tag(memo: str) -> tuple[bool, str]:
    """Whether the percent was asked, and the tag of the limits in use."""
    drawn = memo_of(memo, DRAWN)
    return drawn is not None, drawn or memo_of(memo, PINNED) or ""


def _listed(found: Conclusion | None) -> list[Conclusion]:
    return [] if found is None else [found]
