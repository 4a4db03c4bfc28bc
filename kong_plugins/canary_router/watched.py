"""One canary as the analyst watches it: the stratum that is being filled, the last minute, and the tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from kong_plugins.canary_router.abort import AbortIf
from kong_plugins.canary_router.counts import Arm, Stratum, Window, percentile, seen_of
from kong_plugins.canary_router.sequential import Comparison
from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome

STRATUM = 0.5
"""Seconds of a stratum at least ..."""
ENOUGH = 20
"""... and requests in each arm, but ..."""
LONGEST = 10.0
"""... no more seconds than these."""
QUIET = 15.0
"""Seconds after an abort in which requests that were under way may still come in; later ones are of a canary
that an operator has started again."""
MAX_TOLD = 50
"""Strata of a canary that one message carries."""
AGAIN = 3.0
"""Seconds in which a stratum is told again with newer ones: a message may be lost."""
_SHARE = 0.95
_ABORTED: Mapping[str, Any] = {
    "percent": None, "users": None, "users_list": None, "paused": False, "aborted": True, "ramp": None,
}  # fmt: skip


class Watched:
    """One canary: the stratum that is being filled, the last minute, and the tests."""

    def __init__(self, name: str, limits: AbortIf | None, tag: str = "") -> None:
        self.name, self.limits, self.tag = name, limits, tag
        self.used = self.tag_seen = 0.0
        """When a request of it, and one with its tag, was last counted."""
        self.window = Window(60.0 if limits is None else limits.window)
        self.errors, self.latency = Comparison(), Comparison()
        self.open: Stratum | None = None
        self.slow_over: tuple[float | None, float | None] = (None, None)
        self.told: deque[tuple[float, int, list[Any]]] = deque(maxlen=MAX_TOLD)
        """(when, number, wire) of the strata of this node."""
        self.numbered, self.is_news = 0, False
        self.heard: dict[str, int] = {}
        """The last number of each node."""
        self.aborted: float | None = None
        self.confirmed = False
        """The abort was seen in the control state."""
        self.overridden = False

    def count(self, outcome: Outcome, arm: str, drawn: bool, now: float) -> bool:
        """Count one outcome; whether it is of a canary without a target. drawn: the percent was asked for it."""
        seen = seen_of(outcome)
        if seen is None:
            return False
        if self.open is None:
            self.open = Stratum(now)
            self.slow_over = self._slow_over()
        over, over_control = self.slow_over
        if arm == "control":
            if drawn:
                self.open.control.add(seen, over_control)
        else:
            (self.open.canary if drawn else self.open.pinned).add(seen, over)
        return arm == "canary" and seen.no_target

    def _slow_over(self) -> tuple[float | None, float | None]:
        """Milliseconds over which an answer of (canary, control) is slow: of what was seen before this stratum
        alone, so that what is judged does not choose its own measure."""
        limits = self.limits
        control = self.window.total.control.latencies
        if limits is None or limits.latency_ratio is None or sum(control.values()) < limits.min_samples:
            return None, None
        usual = percentile(control, _SHARE)
        assert usual is not None
        return usual * limits.latency_ratio, usual

    def closed(self, now: float) -> Stratum | None:
        """The stratum, when it is old or full enough; never by what failed in it."""
        found = self.open
        if found is None:
            return None
        age = now - found.began
        few = found.canary.requests < ENOUGH or found.control.requests < ENOUGH
        if 0 <= age < (LONGEST if few else STRATUM):
            return None
        self.open = None
        return found

    def judge(self, stratum: Stratum, now: float) -> Conclusion | None:
        """Count a stratum of any node; what follows."""
        self.window.add(stratum, now)
        canary, control = stratum.canary, stratum.control
        self.errors.add(now, canary.requests, canary.failed, control.requests, control.failed)
        self.latency.add(now, canary.timed, canary.slow, control.timed, control.slow)
        return self.verdict(now)

    def verdict(self, now: float) -> Conclusion | None:
        """The abort that the counts ask for."""
        limits, total = self.limits, self.window.total
        if limits is None or self.aborted is not None:
            return None
        failed = total.canary.failed + total.pinned.failed
        if limits.errors is not None and failed >= limits.errors:
            reason = f"{failed} errors in {limits.window:g} s, {limits.errors} are the limit"
            return self.abort("errors", reason, now)
        if min(total.canary.requests, total.control.requests) < limits.min_samples:
            return None
        tests = 1 if limits.latency_ratio is None else 2
        enough = tests / limits.false_abort
        mine, other = _rate(total.canary), _rate(total.control)
        if self.errors.evidence >= enough and mine - other >= limits.error_difference:
            reason = f"{mine:.2%} errors, control has {other:.2%}, in {limits.window:g} s"
            return self.abort("error_difference", reason, now)
        if limits.latency_ratio is None or self.latency.evidence < enough:
            return None
        slow, usual = (percentile(arm.latencies, _SHARE) for arm in (total.canary, total.control))
        if slow is not None and usual is not None and slow >= limits.latency_ratio * usual:
            reason = f"p95 {slow:.0f} ms, control has {usual:.0f} ms, in {limits.window:g} s"
            return self.abort("latency_ratio", reason, now)
        return None

    def abort(self, rule: str, reason: str, now: float) -> Conclusion:
        """Give it up."""
        self.aborted = now
        numbers = {"rule": rule, **self.figures()}
        # what an operator has set stays as it is, for whoever looks at it before the reset
        data = {"aborted": True} if self.overridden else dict(_ABORTED)
        return Conclusion(
            "canary.abort", self.name, f"{rule}: {reason}", numbers, "canaries", self.name, data
        )

    def store(self, stratum: Stratum, now: float) -> None:
        """Remember a stratum of this node for the others."""
        # by the time, so that numbers go on when the canary begins anew
        self.numbered = max(self.numbered + 1, int(now * 1000))
        self.told.append((now, self.numbered, stratum.wire()))
        self.is_news = True

    def news(self, now: float) -> list[Any]:
        """[number, wire] of the strata to tell."""
        self.is_news = False
        while self.told and self.told[0][0] < now - AGAIN:
            self.told.popleft()
        return [[number, wire] for _, number, wire in self.told]

    def keep(self) -> list[Any]:
        """What `resume` of another process takes up."""
        return [
            self.tag,
            self.window.keep(),
            self.errors.keep(),
            self.latency.keep(),
            self.aborted,
            self.confirmed,
            self.heard,
            self.numbered,
        ]

    def resume(self, kept: Sequence[Any], now: float) -> None:
        """Go on where another process stood. Raises ValueError or TypeError for what `keep` did not write."""
        _, window, errors, latency, aborted, confirmed, heard, numbered = kept
        self.window.resume(window, now)
        self.errors.resume(errors)
        self.latency.resume(latency)
        self.aborted, self.confirmed = aborted, bool(confirmed)
        self.heard, self.numbered = dict(heard), int(numbered)

    def figures(self) -> dict[str, Any]:
        """Both arms in the window."""
        total = self.window.total
        return {
            "window": self.window.seconds,
            "canary": _figures(total.canary),
            "control": _figures(total.control),
            "pinned": _figures(total.pinned),
            "evidence_errors": _short(self.errors.evidence),
            "evidence_latency": _short(self.latency.evidence),
        }


def _rate(arm: Arm) -> float:
    return arm.failed / arm.requests if arm.requests else 0.0


def _figures(arm: Arm) -> dict[str, Any]:
    slow = percentile(arm.latencies, _SHARE)
    return {
        "requests": arm.requests,
        "errors": arm.failed,
        "error_percent": round(100 * _rate(arm), 3),
        "p95_ms": None if slow is None else round(slow, 1),
    }


def _short(value: float) -> float:
    return float(f"{value:.3g}")
