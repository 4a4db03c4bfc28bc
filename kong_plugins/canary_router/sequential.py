"""Is the canary worse than control? A test that may be looked at all the time.

Within one stratum (the requests of one node in a short time) let n requests, n1 of them to the canary, have e
failures, e1 of them the canary's. When both arms are equally good every request is as likely to be among the
failures, whatever the rate of failures is at that moment: e1 is hypergeometric. The evidence that the canary
fails r times as often is the likelihood ratio of the binomial in its place,

    L = r^e1 * (n / (n1 r + n - n1))^e

Its mean is at most 1 when the canary is not worse (the hypergeometric is below the binomial in convex order:
Hoeffding,
"Probability Inequalities for Sums of Bounded Random Variables", 1963, theorem 4), so the product over strata is a
supermartingale and the chance that it ever reaches 1/alpha is at most alpha, however often one looks (Ville's
inequality). A mean over several r replaces the r that nobody knows: the mixture sequential probability ratio
test of Johari, Pekelis and Walsh, "Always Valid Inference" (Operations Research 2022), for counts as in Lindon
and Malek,
"Anytime-Valid Inference for Multinomial Count Data" (NeurIPS 2022), section on inhomogeneous Bernoulli processes.

A release can also become worse later: evidence that was gathered against that must not stand in the way. So
part of alpha is kept for tests that begin later: in epoch k (from 0) a test with weight 1 / ((k + 1)(k + 2))
begins; the weights add up to 1, so the guarantee stays (alpha spending over the moment of the change).

What it takes for granted is that requests fail independently of each other in a good release.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Any

RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Alternatives: how many times as often the canary fails."""
_LOGS = tuple(log(ratio) for ratio in RATIOS)
EPOCH = 60.0
"""Seconds between two beginnings."""
_MOST = 690.0
"""e to that is near the largest float."""


class Comparison:
    """One sequential test of two arms. Times are Unix seconds, and do not go back."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._epoch = -1
        self._evidence = [0.0] * len(RATIOS)

    def add(self, now: float, canary: int, canary_failed: int, control: int, control_failed: int) -> None:
        """Count one stratum: requests and failures of both arms. Strata must not be chosen by their failures."""
        self._begin(now)
        failed = canary_failed + control_failed
        both = canary + control
        if not failed or not canary or not control:
            return
        for place, ratio in enumerate(RATIOS):
            gain = canary_failed * _LOGS[place] + failed * log(both / (canary * ratio + control))
            held = self._evidence[place]
            if held > 0.0:
                self._evidence[place] = exp(max(-_MOST, min(_MOST, log(held) + gain)))

    def _begin(self, now: float) -> None:
        if self._began is None:
            self._began = now
        epoch = int(max(0.0, now - self._began) / EPOCH)
        while self._epoch < epoch:
            # epochs without a stratum begin at once: what they would have counted was nothing
            self._epoch += 1
            weight = 1.0 / ((self._epoch + 1) * (self._epoch + 2))
            self._evidence = [held + weight for held in self._evidence]

    @property
    def evidence(self) -> float:
        """How many times more likely the outcomes are if the canary is worse. 1 / alpha of it is enough."""
        return sum(self._evidence) / len(RATIOS)

    def keep(self) -> list[Any]:
        """What `resume` of another process takes up."""
        return [self._began, self._epoch, self._evidence]

    def resume(self, kept: Sequence[Any]) -> None:
        """Go on where another process stood. Raises ValueError or TypeError for what `keep` did not write."""
        began, epoch, evidence = kept
        if len(evidence) != len(RATIOS):
            raise ValueError("evidence of other ratios")
        self._began, self._epoch = (None if began is None else float(began)), int(epoch)
        self._evidence = [float(each) for each in evidence]
