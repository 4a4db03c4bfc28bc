"""How soon a bad release is given up, and how often a good one: the real analyst on simulated traffic.

    python -m bench.canary_sim [--json] [--runs N] [--bad-runs N] [--seconds S] [--seed N]

500 requests/s, the canary gets 10 %, 0.5 % of all requests fail. Bad releases fail 2 percentage points more
often, or are half as slow again as their limit; time is that of the traffic until the abort. Good releases are
as good as control, in weather: "calm", "outage" (both arms fail together, 30 % of the requests for 30 s, three
times), "down" (all requests of both for 20 s), "ramp" (the canary's share rises from 1 to 50 % while the rate
of errors rises twentyfold: pooled counts would blame the canary), "tide" (the rate of errors goes up and down).
Fixed seeds: the same numbers each time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kong_plugins.canary_router.analyst import CanaryAnalyst
from kong_plugins.canary_router.config import DRAWN, parse
from kong_plugins.canary_router.watched import STRATUM
from kong_plugins.engine.outcome import Outcome

RATE = 500
SHARE = 0.10
BASE = 0.005
WORSE = 0.02
USUAL_MS = 40.0
RATIO = 1.5
"""latency_ratio of the simulated limits."""
PLAN: dict[str, Any] = {
    "name": "sim", "upstream": "sim", "percent": 10, "abort_if": {"latency_ratio": RATIO},
}  # fmt: skip


class Weather(NamedTuple):
    """Of the moment: share of requests that fail in both arms, share of requests that the canary gets."""

    failing: float
    share: float


def calm(at: float, seconds: float) -> Weather:
    return Weather(BASE, SHARE)


def outage(at: float, seconds: float) -> Weather:
    return Weather(0.3 if at % (seconds / 3) < 30 else BASE, SHARE)


def down(at: float, seconds: float) -> Weather:
    return Weather(1.0 if 60 <= at < 80 else BASE, SHARE)


def ramp(at: float, seconds: float) -> Weather:
    part = at / seconds
    return Weather(BASE * (1 + 19 * part), 0.01 + 0.49 * part)


def tide(at: float, seconds: float) -> Weather:
    return Weather(BASE * (1 + 9 * (0.5 - 0.5 * math.cos(at / 20))), SHARE)


GOOD: dict[str, Callable[[float, float], Weather]] = {
    "calm": calm, "outage": outage, "down": down, "ramp": ramp, "tide": tide,
}  # fmt: skip


def binomial(dice: random.Random, count: int, share: float) -> int:
    """How many of `count` come true: jumps from one to the next (Devroye, "Non-Uniform Random Variate
    Generation", X.4.3)."""
    if share >= 1:
        return count
    if share > 0.5:
        return count - binomial(dice, count, 1 - share)
    if share <= 0:
        return 0
    found, place, scale = 0, 0, math.log1p(-share)
    while True:
        place += int(math.log(1 - dice.random()) / scale) + 1
        if place > count:
            return found
        found += 1


def analyst() -> CanaryAnalyst:
    made = CanaryAnalyst()
    made.configure([parse(PLAN)])
    return made


def good_run(name: str, seed: int, seconds: float) -> float | None:
    """Seconds until a release as good as control was aborted; None when it was not. Both arms answer in the
    same time."""
    dice, judge = random.Random(f"{name} {seed}"), analyst()
    arrivals = int(RATE * STRATUM)
    for step in range(int(seconds / STRATUM)):
        at = step * STRATUM
        weather = GOOD[name](at, seconds)
        canary = binomial(dice, arrivals, weather.share)
        arms: list[list[Any]] = []
        for count in (canary, arrivals - canary):
            failed = binomial(dice, count, weather.failing)
            # answers slower than control's 95th percentile, and than the limit's multiple of it
            timed = count - failed
            slow = binomial(dice, timed, 0.05)
            arms.append([count, failed, timed, slow, [43, timed - slow, 60, slow]])
        told = {"strata": {"sim": [[step + 1, [*arms, [0, 0, 0, 0, []]]]]}}
        if judge.merge("other", told, at):
            return at
    return None


def bad_run(seed: int, worse: float = WORSE, slower: float = 1.0, most: float = 300.0) -> float | None:
    """Seconds of traffic until a release is aborted that fails `worse` more often or takes `slower` times as long:
    every outcome goes through the analyst of one node, which looks ten times a second."""
    dice, judge = random.Random(f"bad {seed}"), analyst()
    for step in range(int(most * 10)):
        now = step / 10
        rows = [_outcome(dice, worse, slower) for _ in range(RATE // 10)]
        if judge.take(rows, now) or judge.tick(now + 0.1):
            return now + 0.1
    return None


def _outcome(dice: random.Random, worse: float, slower: float) -> Outcome:
    canary = dice.random() < SHARE
    failed = dice.random() < BASE + (worse if canary else 0.0)
    took = USUAL_MS * math.exp(dice.gauss(0, 0.5)) * (slower if canary else 1.0)
    status = "502" if failed else "200"
    arm = "sim=canary" if canary else "sim=control"
    return Outcome("t", "s", "", status, status, "1", f"{took:.0f}", "service", "", arm, f"{DRAWN}=1", "")


def simulate(runs: int, bad_runs: int, seconds: float, seed: int = 1) -> dict[str, Any]:
    """All scenarios. runs: good ones in all, spread over the weathers."""
    good = {}
    for place, name in enumerate(GOOD):
        count = runs // len(GOOD) + (place < runs % len(GOOD))
        found = [good_run(name, seed * 1_000_000 + n, seconds) for n in range(count)]
        good[name] = {"runs": count, "false_aborts": sum(one is not None for one in found)}
    bad = {
        "errors_plus_2_points": _summary([bad_run(seed * 1000 + n) for n in range(bad_runs)]),
        "latency_2x": _summary([bad_run(seed * 1000 + n, 0.0, 2.0) for n in range(bad_runs)]),
    }
    return {"good": good, "bad": bad, "seconds_of_a_good_run": seconds}


def _summary(found: list[float | None]) -> dict[str, Any]:
    times = sorted(one if one is not None else math.inf for one in found)
    if not times:
        return {"runs": 0}
    return {
        "runs": len(times),
        "median_seconds": round(statistics.median(times), 1),
        "p95_seconds": round(times[min(len(times) - 1, int(0.95 * len(times)))], 1),
        "never": sum(math.isinf(one) for one in times),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.canary_sim", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--bad-runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    started = time.monotonic()
    found = simulate(given.runs, given.bad_runs, given.seconds, given.seed)
    if given.json:
        print(json.dumps(found))
        return 0
    for name, one in found["good"].items():
        print(
            f"good, {name:8} {one['runs']:5} runs of {given.seconds:g} s: {one['false_aborts']} false aborts"
        )
    for name, one in found["bad"].items():
        print(f"bad, {name}: {one}")
    print(f"took {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
