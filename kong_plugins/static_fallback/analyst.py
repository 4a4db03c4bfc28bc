"""static-fallback's analyst: breakers and retry budgets from the outcomes of all workers of the node.

It is the only writer of their states, so a breaker is exact over the workers: every outcome is seen once, in one
process. Filters name in the memo whose breaker an outcome belongs to (`b=ID`), and a trial its permit
(`b=ID:BEGAN:NUMBER:LEASE_END`); an outcome that never comes costs its permit until the lease ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome, memo_of
from kong_plugins.state.cells import Permit
from kong_plugins.static_fallback import switch
from kong_plugins.static_fallback.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Change
from kong_plugins.static_fallback.breaker_config import BreakerConfig, Watch
from kong_plugins.static_fallback.budget import Budget
from kong_plugins.static_fallback.config import Config
from kong_plugins.static_fallback.results import NOTHING, Result, result_of

MAX_BREAKERS = 10_000
IDLE_SECONDS = 3_600.0
HOLD_SECONDS = 3.0
"""What is shown ends so long after it was last shown: a dead analysis keeps no breaker open."""
SHOW_SECONDS = 1.0
TELL_SECONDS = 1.0
CODES = {CLOSED: 0, OPEN: switch.OPEN, HALF_OPEN: switch.HALF_OPEN}
SLACK_SECONDS = 0.05
"""Another node's "since" comes as an age and is this unsure."""

Key = tuple[str, str]
"""Watch id and the name of a service or route."""


class Board(Protocol):
    """Where filters see the states. `CellBoard` is the real one."""

    def show(self, key: str, state: int, at: int, until: float, now: float) -> None: ...

    def settle(self, key: str, began: int, permit: Permit, used: bool, now: float) -> None: ...


class _Memo(NamedTuple):
    watch: Watch
    began: int | None
    permit: Permit | None


class BreakerAnalyst:
    """See `kong_plugins.engine.analyst.Analyst`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._watches: dict[str, Watch] = {}
        self._breakers: dict[Key, Breaker] = {}
        self._budgets: dict[Key, Budget] = {}
        self._shown: dict[str, float] = {}
        self._kinds: dict[Key, dict[str, int]] = {}
        self._told = 0.0
        self._news = False
        self._resets: dict[str, float] = {}

    def configure(self, configs: Sequence[Any]) -> None:
        """All configs of static-fallback."""
        watches = (config.watch for config in configs if isinstance(config, Config))
        self._watches = {watch.id: watch for watch in watches if watch is not None}

    def concerned(self, kind: Outcome) -> bool:
        """Those whose breaker or budget counts."""
        return self._memo(kind) is not None

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        """Count outcomes."""
        found: list[Conclusion] = []
        for outcome in outcomes:
            memo = self._memo(outcome)
            if memo is not None:
                result = result_of(outcome)
                if memo.watch.budget:
                    found += self._spend(memo.watch, outcome, result, now)
                if memo.watch.breaker is not None:
                    found += self._count(memo, memo.watch.breaker, outcome, result, now)
        return found

    def tick(self, now: float) -> list[Conclusion]:
        """Open breakers whose time is over; states are shown again."""
        found: list[Conclusion] = []
        for key, breaker in list(self._breakers.items()):
            change = breaker.tick(now)
            if change is not None:
                found.append(self._changed(key, breaker, change, now))
            elif breaker.state != OPEN and now - max(breaker.used, breaker.since) > IDLE_SECONDS:
                # nobody asks for it, or its config is gone: what was shown ends by itself
                del self._breakers[key]
                self._kinds.pop(key, None)
            else:
                self._keep_shown(key, breaker, now)
        for key, budget in list(self._budgets.items()):
            if budget.tick(now):
                found.append(self._budget_changed(key, budget, now))
            elif budget.used_up:
                self._show_budget(key, budget, now)
            elif now - budget.used > IDLE_SECONDS:
                del self._budgets[key]
        return found

    def merge(self, node: str, told: Mapping[str, Any], now: float) -> list[Conclusion]:
        """Take over what another node found later than this one: openings and closings. Its trials are its own."""
        found: list[Conclusion] = []
        for watch_id, name, state, age, left, openings in told.get("breakers", ()):
            watch = self._watches.get(watch_id)
            if watch is None or watch.breaker is None or state not in CODES or watch.breaker.mode != "on":
                continue
            key = (watch_id, str(name))
            breaker = self._breaker(key, watch.breaker, 0.0)
            since = now - float(age) - SLACK_SECONDS
            change = breaker.follow(state, since, now + float(left), int(openings), now)
            if change is not None:
                found.append(self._changed(key, breaker, change, now, node))
        return found

    def tell(self, now: float) -> Mapping[str, Any] | None:
        """Breakers that are not closed, and those that closed within the last seconds."""
        if not self._news and now - self._told < TELL_SECONDS:
            return None
        rows = [
            [*key, one.state, now - one.since, max(0.0, one.until - now), one.openings]
            for key, one in self._breakers.items()
            if one.state != CLOSED or (one.since > 0 and now - one.since < 10 and key in self._kinds)
        ]
        self._told, self._news = now, False
        return {"breakers": rows[:1000]} if rows else None

    def see(self, snapshot: Any, now: float) -> list[Conclusion]:
        """Operators' resets in the control state, each once."""
        found: list[Conclusion] = []
        for scope, override in snapshot.breakers.records.items():
            if override.state != "reset" or self._resets.get(scope, 0.0) >= override.changed:
                continue
            self._resets[scope] = override.changed
            if override.expires is not None and override.expires <= now:
                continue
            for key, breaker in list(self._breakers.items()):
                if scope in ("*", _scope(breaker.config, key)) and breaker.since < override.changed:
                    change = breaker.reset(now)
                    if change is not None:
                        found.append(self._changed(key, breaker, change, now))
        return found

    def levels(self) -> dict[str, int]:
        """State of each breaker for metrics: 0 closed, 1 open, 2 half-open. Names are those of the configuration."""
        # of several configs of one service the one in use
        used = sorted(self._breakers.items(), key=lambda each: max(each[1].used, each[1].since))
        return {_scope(one.config, key).replace(" ", ":", 1): CODES[one.state] for key, one in used}

    def keep(self) -> dict[str, Any]:
        """All states, for the process that takes over."""
        return {
            "breakers": [[*key, one.keep(), self._kinds.get(key, {})] for key, one in self._breakers.items()],
            "budgets": [[*key, one.keep()] for key, one in self._budgets.items()],
            "resets": self._resets,
        }

    def resume(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on where the process before stood, for what is still configured. Its states are shown again. Raises
        ValueError or TypeError for what `keep` did not write."""
        self._resets.update(kept["resets"])
        for watch_id, name, state, kinds in kept["breakers"]:
            watch, key = self._watches.get(watch_id), (watch_id, name)
            if watch is not None and watch.breaker is not None:
                breaker = self._breaker(key, watch.breaker, now)
                breaker.resume(state)
                self._kinds[key] = dict(kinds)
                self._keep_shown(key, breaker, now)
        for watch_id, name, state in kept["budgets"]:
            watch = self._watches.get(watch_id)
            if watch is not None and watch.budget:
                budget = self._budgets[watch_id, name] = Budget(watch.budget)
                budget.resume(state)

    def _memo(self, outcome: Outcome) -> _Memo | None:
        text = memo_of(outcome.memo, "b")
        if text is None:
            return None
        parts = text.split(":")
        watch = self._watches.get(parts[0])
        if watch is None:
            return None
        if len(parts) != 4:
            return _Memo(watch, None, None)
        try:
            began, number, lease_end = map(int, parts[1:])
        except ValueError:
            return None
        return _Memo(watch, began, Permit(number, lease_end))

    def _breaker(self, key: Key, config: BreakerConfig, now: float) -> Breaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= MAX_BREAKERS:
                del self._breakers[min(self._breakers, key=lambda each: self._breakers[each].used)]
            breaker = self._breakers[key] = Breaker(config, now)
        return breaker

    def _count(
        self, memo: _Memo, config: BreakerConfig, outcome: Outcome, result: Result, now: float
    ) -> list[Conclusion]:
        name = outcome.service if config.per == "service" else outcome.route
        key = (memo.watch.id, name)
        # a breaker begins with time: what began before it was made still counts
        breaker = self._breaker(key, config, 0.0)
        failed = result.kind in config.failures
        # a 4xx shows in a trial that the service answers; else a scan of addresses would dilute the failures
        counts = result is not NOTHING and (result.kind != "4xx" or memo.permit is not None)
        trial = False
        if memo.permit is not None and memo.began is not None:
            flag = switch.breaker_flag(*key)
            self._board.settle(flag, memo.began, memo.permit, counts, now)
            trial = breaker.state == HALF_OPEN and memo.began == _ms(breaker.since)
            if not trial:
                return []
        if not counts:
            return []
        if failed:
            kinds = self._kinds.setdefault(key, {})
            kinds[result.kind] = kinds.get(result.kind, 0) + 1
        change = breaker.record(
            failed, result.seconds >= config.slow_seconds, now - result.seconds, now, trial
        )
        return [] if change is None else [self._changed(key, breaker, change, now)]

    def _changed(self, key: Key, breaker: Breaker, change: Change, now: float, node: str = "") -> Conclusion:
        scope = _scope(breaker.config, key)
        sums = change.sums
        numbers: dict[str, Any] = {
            "cause": change.cause,
            "before": change.before,
            "calls": sums.calls,
            "failed": sums.failed,
            "slow": sums.slow,
            "failure_rate": round(sums.failure_rate, 1),
            "slow_rate": round(sums.slow_rate, 1),
            "failures": dict(self._kinds.get(key, {})),
        }
        if breaker.state == OPEN:
            numbers["open_seconds"] = round(change.seconds, 3)
            numbers["openings"] = breaker.openings
        if node:
            numbers["node"] = node
        self._kinds[key] = {}
        if change.before == change.after:  # metrics_only
            return Conclusion("breaker.would_open", scope, change.cause, numbers)
        self._news = not node
        self._show(key, breaker, now)
        kind = {OPEN: "opened", HALF_OPEN: "half_opened", CLOSED: "closed"}[breaker.state]
        return Conclusion(f"breaker.{kind}", scope, _why(change), numbers)

    def _keep_shown(self, key: Key, breaker: Breaker, now: float) -> None:
        if breaker.state != CLOSED and now - self._shown.get(switch.breaker_flag(*key), 0.0) >= SHOW_SECONDS:
            self._show(key, breaker, now)

    def _show(self, key: Key, breaker: Breaker, now: float) -> None:
        flag = switch.breaker_flag(*key)
        at = breaker.until if breaker.state == OPEN else breaker.since
        self._board.show(flag, CODES[breaker.state], _ms(at), now + HOLD_SECONDS, now)
        if breaker.state == CLOSED:
            self._shown.pop(flag, None)
        else:
            self._shown[flag] = now

    def _spend(self, watch: Watch, outcome: Outcome, result: Result, now: float) -> list[Conclusion]:
        if result is NOTHING:
            return []
        key = (watch.id, outcome.service)
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= MAX_BREAKERS:
                return []
            budget = self._budgets[key] = Budget(watch.budget)
        failures = watch.breaker.failures if watch.breaker is not None else _DEFAULT.failures
        if budget.record(result.tries > 1 or result.kind in failures, now):
            return [self._budget_changed(key, budget, now)]
        return []

    def _budget_changed(self, key: Key, budget: Budget, now: float) -> Conclusion:
        self._show_budget(key, budget, now)
        kind = "retry.stopped" if budget.used_up else "retry.resumed"
        reason = f"{budget.share:.1f}% of the first tries failed, the budget is {budget.limit:g}%"
        numbers = {"share": round(budget.share, 1), "calls": budget.calls, "budget": budget.limit}
        return Conclusion(kind, f"service {key[1]}", reason, numbers)

    def _show_budget(self, key: Key, budget: Budget, now: float) -> None:
        flag = switch.budget_flag(*key)
        if budget.used_up and now - self._shown.get(flag, 0.0) < SHOW_SECONDS:
            return
        self._board.show(flag, switch.OPEN if budget.used_up else 0, _ms(now), now + HOLD_SECONDS, now)
        self._shown[flag] = now
        if not budget.used_up:
            del self._shown[flag]


_DEFAULT = BreakerConfig()


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _scope(config: BreakerConfig, key: Key) -> str:
    return f"{config.per} {key[1]}"


def _why(change: Change) -> str:
    sums = change.sums
    rates = f"{sums.failed} of {sums.calls} calls failed, {sums.slow} were slow"
    return {
        "failure_rate": f"too many failures: {rates}",
        "slow_rate": f"too many slow calls: {rates}",
        "waited": "its time is over: trial calls pass",
        "trials": f"the trial calls went well: {rates}",
        "peer": "another node found it",
        "reset": "reset by an operator",
    }[change.cause]
