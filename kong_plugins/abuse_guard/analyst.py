"""abuse-guard's analyst: pours the outcomes of requests into the scenarios' buckets, and acts on what overflows.

One per node; what others counted comes by `merge`. Nothing here is a decision on a request: a block or a mark is a
record of the control state, and the filters of all nodes act on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from kong_plugins.abuse_guard import trace as traces
from kong_plugins.abuse_guard.buckets import Bucket, Buckets
from kong_plugins.abuse_guard.config import Config
from kong_plugins.abuse_guard.governor import WINDOW_SECONDS, Governor
from kong_plugins.abuse_guard.groups import group_of, place_of, target_of, value_of
from kong_plugins.abuse_guard.held import Held
from kong_plugins.abuse_guard.offenders import Offenders
from kong_plugins.abuse_guard.refusals import OWN_REFUSALS, TOLD, Refusals
from kong_plugins.abuse_guard.scenario import Scenario
from kong_plugins.abuse_guard.spared import why_spared
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome
from kong_plugins.state.base import Snapshot
from kong_plugins.state.marks import mark_data

MAX_OFFENDERS = 20_000
MAX_TOLD = 500
MAX_KEPT = 10_000
"""Buckets that the next process gets, the fullest: it waits for them."""
MAX_KEPT_VALUES = 100_000
"""Different values in them: 2 MB."""
TELL_SECONDS = 0.5


class _Rules(NamedTuple):
    """The scenarios under one tag, and the strictest of what their configs allow the gateway itself."""

    scenarios: tuple[Scenario, ...]
    configs: tuple[Config, ...]


class Analyst:
    """See kong_plugins/engine/analyst.py. seed: 16 secret bytes of this process, for jitter and sketches."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.buckets = Buckets()
        self.governor = Governor(seed)
        self._refusals = Refusals()
        self._rules: dict[str, _Rules] = {}
        self._by_id: dict[str, tuple[Scenario, _Rules]] = {}
        self._offenders = Offenders(MAX_OFFENDERS)
        self._held = Held(MAX_OFFENDERS)
        self._snapshot: Snapshot | None = None
        self._last_told = 0.0
        self._complained: dict[str, float] = {}
        self.untraced = 0
        """Outcomes with a trace of a config that is not known here."""

    def configure(self, configs: Sequence[Any]) -> None:
        found: dict[str, list[Config]] = {}
        for config in configs:
            if config.scenarios is not None:
                found.setdefault(config.scenarios.tag, []).append(config)
        self._rules = {
            tag: _Rules(held[0].scenarios.items, tuple(held))
            for tag, held in found.items()
            if held[0].scenarios
        }
        self._by_id = {item.id: (item, rules) for rules in self._rules.values() for item in rules.scenarios}
        self.buckets.keep(tuple(self._by_id))

    def see(self, snapshot: Snapshot, now: float) -> None:
        """A new control state: whom an operator allows is not blocked."""
        self._snapshot = snapshot

    def levels(self) -> Mapping[str, float]:
        """Gauges of its own memory."""
        return {
            "buckets": float(len(self.buckets)),
            "buckets_evicted": float(self.buckets.evicted),
            "blocks_held_back": float(self.governor.refused),
            "outcomes_of_unknown_configs": float(self.untraced),
        }

    def concerned(self, kind: Outcome) -> bool:
        """Those that scenarios look at, and refusals that are told."""
        return kind.reason in TOLD or traces.read(kind.memo) is not None

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        made: list[Conclusion] = []
        for outcome in outcomes:
            if outcome.reason in TOLD:
                self._refusals.saw(outcome, now)
            trace = traces.read(outcome.memo)
            if trace is None or outcome.reason in OWN_REFUSALS:
                continue
            rules = self._rules.get(trace.tag)
            if rules is None:
                self.untraced += 1
                continue
            place = place_of(outcome.ip)
            is_good = outcome.status < "4"  # of three digits each
            if place is not None:
                groups = (place.key, place.network, f"user {trace.user}", f"token {trace.token}")
                self.governor.saw(groups, place.key, is_good, now)
            mask = trace.mask
            for number, scenario in enumerate(rules.scenarios):
                if not mask >> number & 1:
                    continue
                group = group_of(scenario, outcome, trace, place)
                if not group:
                    continue
                if not scenario.fits_answer(outcome.status, outcome.reason):
                    if scenario.relief and is_good:
                        self.buckets.drain(scenario, group, scenario.relief, now)
                    continue
                value = value_of(scenario, trace, place)
                if scenario.distinct and not value:
                    continue
                full = self.buckets.pour(scenario, group, value, now)
                if full is not None:
                    made += self._overflow(scenario, rules, group, full, now)
        return made

    def tick(self, now: float) -> list[Conclusion]:
        """Refusals are told."""
        return self._refusals.due(now)

    def tell(self, now: float) -> Mapping[str, Any] | None:
        if now - self._last_told < TELL_SECONDS:
            return None
        self._last_told = now
        rows = [list(row) for row in self.buckets.told(MAX_TOLD)]
        offences = self._offenders.told(MAX_TOLD, now)
        told = {**({"b": rows} if rows else {}), **({"o": offences} if offences else {})}
        return told or None

    def merge(self, node: str, told: Mapping[str, Any], now: float) -> list[Conclusion]:
        made: list[Conclusion] = []
        rows = told.get("b")
        for row in rows[:MAX_TOLD] if isinstance(rows, list) else ():
            try:
                scenario_id, group, amount, values = row
                scenario, rules = self._by_id[scenario_id]
                amounts = (
                    [(1.0, str(value)) for value in values] if scenario.distinct else [(float(amount), "")]
                )
            except (KeyError, TypeError, ValueError):
                continue  # a scenario of a config that is not here (yet), or a node of another version
            for each, value in amounts:
                full = self.buckets.pour(scenario, str(group), value, now, each, tell=False)
                if full is not None:
                    made += self._overflow(scenario, rules, str(group), full, now)
        offences = told.get("o")
        if isinstance(offences, list):
            self._offenders.merge(offences[:MAX_TOLD], now)
        return made

    def keep(self) -> dict[str, Any]:
        """Buckets and offences, for the process that takes over."""
        return {"buckets": self.buckets.kept(MAX_KEPT, MAX_KEPT_VALUES), "offenders": self._offenders.keep()}

    def resume(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on where the process before stood, with the scenarios that are still configured. Raises ValueError or
        TypeError for what `keep` did not write."""
        self._offenders.resume(kept["offenders"], self._by_id.__contains__)
        self.buckets.resume(kept["buckets"], {each: scenario for each, (scenario, _) in self._by_id.items()})

    # what follows from an overflow

    def _overflow(
        self, scenario: Scenario, rules: _Rules, group: str, bucket: Bucket, now: float
    ) -> list[Conclusion]:
        key = (scenario.id, group)
        before = self._offenders.before(key, now)
        if before is None:
            return []
        ttl = self._ttl(scenario, key, before)
        numbers = {
            "scenario": scenario.name,
            "level": round(bucket.level, 1),
            "seconds": round(now - bucket.since, 1),
            "offence": before + 1,
            "ttl": round(ttl),
        }
        what = f"different {scenario.distinct}s" if scenario.distinct else "requests"
        why = f"{scenario.name}: {bucket.level:.0f} {what} in {now - bucket.since:.0f} s"
        made = self._act(scenario, rules, group, why, numbers, ttl, now)
        only_told = scenario.simulate or not set(scenario.then) - {"notify"}
        self._offenders.found(key, ttl, only_told or any(one.collection for one in made), now)
        return made

    def _act(
        self,
        scenario: Scenario,
        rules: _Rules,
        group: str,
        why: str,
        numbers: Mapping[str, Any],
        ttl: float,
        now: float,
    ) -> list[Conclusion]:
        subject = group.replace("\n", ", ")
        if scenario.simulate:
            told = {**numbers, "then": list(scenario.then), "simulated": True}
            return [Conclusion("abuse.simulated", subject, why, told)]
        made: list[Conclusion] = []
        if "block" in scenario.then:
            target = target_of(group, ("ip", "cidr", "user", "token"))
            made += self._block(scenario, rules, subject, target, why, numbers, ttl, now)
        target = target_of(group, ("user", "ip", "cidr"))
        slow = "limit" in scenario.then and bool(target)
        if slow and (against := self._against(target, 0, rules, now)):
            slow = False
            made += self._complaint(scenario, subject, f"{why}; not slowed down: {against}", numbers, now)
        if target and (slow or "mark" in scenario.then):
            made.append(self._mark(scenario, target, why, numbers, ttl, now, slow))
        if "notify" in scenario.then:
            made.append(Conclusion("abuse.found", subject, why, numbers))
        return made

    def _block(
        self,
        scenario: Scenario,
        rules: _Rules,
        subject: str,
        target: str,
        why: str,
        numbers: Mapping[str, Any],
        ttl: float,
        now: float,
    ) -> list[Conclusion]:
        if self._held.blocks(target, now + ttl, now):
            return []
        weight = 4 if target.startswith("cidr ") and target.endswith(("/24", "/56")) else 1
        against = self._against(target, weight, rules, now) if target else "nobody who can be blocked"
        if against:
            return self._complaint(scenario, subject, f"{why}; not blocked: {against}", numbers, now)
        self._held.block(target, now + ttl, now)
        return [Conclusion("block.add", target, why, numbers, "blocks", target, {}, ttl)]

    def _against(self, target: str, addresses: int, rules: _Rules, now: float) -> str:
        spared = why_spared(target, rules.configs, self._snapshot, now)
        if spared:
            return spared
        traffic = min(config.max_blocked_traffic for config in rules.configs)
        share = min(config.max_blocked_addresses for config in rules.configs)
        return self.governor.allows(target, addresses, traffic, share, now)

    def _complaint(
        self, scenario: Scenario, subject: str, why: str, numbers: Mapping[str, Any], now: float
    ) -> list[Conclusion]:
        # once a minute for each scenario: what holds the gateway back is told, and not in a flood
        if now - self._complained.get(scenario.id, -WINDOW_SECONDS) < WINDOW_SECONDS:
            return []
        self._complained = {each: at for each, at in self._complained.items() if now - at < WINDOW_SECONDS}
        self._complained[scenario.id] = now
        return [Conclusion("abuse.held_back", subject, why, numbers)]

    def _mark(
        self,
        scenario: Scenario,
        target: str,
        why: str,
        numbers: Mapping[str, Any],
        ttl: float,
        now: float,
        slow: bool,
    ) -> Conclusion:
        seen = self._snapshot.marks.live(target, now) if self._snapshot is not None else None
        mark = self._held.mark(scenario, target, ttl, slow, seen, now)
        return Conclusion(
            "mark.set",
            target,
            why,
            {**numbers, "score": mark.score},
            "marks",
            target,
            mark_data(mark),
            (mark.expires or now) - now,
        )

    def _ttl(self, scenario: Scenario, key: tuple[str, str], offences: int) -> float:
        """Longer with each offence, and not to be foreseen: a client that knew the end would be back then."""
        ttl = min(scenario.ttl * scenario.factor ** min(offences, 64), scenario.max_ttl)
        drawn = blake2b(f"{key} {offences}".encode("utf-8", "surrogatepass"), digest_size=2, key=self._seed)
        return ttl * (0.9 + 0.2 * int.from_bytes(drawn.digest(), "big") / 0xFFFF)
