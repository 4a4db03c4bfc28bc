"""The usual limits, counted in half the time: local-first ones that count every request alike and refuse.

What they do is what `limits.check` does; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from kong_plugins.abuse_guard import limit_headers
from kong_plugins.abuse_guard.limit_config import Limit
from kong_plugins.abuse_guard.limit_keys import key_of
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.verdict import Verdict
from kong_plugins.state.cells import Cells

_TOLD = 1024
"""Different headers of a limit that are remembered."""

Quick = Callable[[Facts, str, Cells, int, bool], Verdict | None]
"""(facts, address as it is counted, cells, now in nanoseconds, whether headers are told) -> as `limits.check`."""


def quick_of(limits: Sequence[Limit]) -> Quick | None:
    """Counts a request against all of these limits; None where that is `limits.check`'s work."""
    if not limits or any(limit.is_strict or limit.dry_run or not limit.is_plain for limit in limits):
        return None
    return _one(limits[0]) if len(limits) == 1 else _several(tuple(limits))


def _one(limit: Limit) -> Quick:
    emission, burst, cost = limit.emission, limit.burst_ns, limit.cost
    policy = ("RateLimit-Policy", limit.policy)

    @lru_cache(maxsize=_TOLD)
    def told(left: int, seconds: int) -> Verdict:
        return Verdict(headers=(policy, ("RateLimit", f"{limit.label}{left};t={seconds}")))

    def count(facts: Facts, address: str, cells: Cells, now_ns: int, headers: bool) -> Verdict | None:
        key = key_of(limit, facts, address)
        admitted, tat = cells.gcra(key, emission, burst, now_ns, cost)
        if not admitted:
            return limit_headers.refused(
                (limit,), ((key, emission, burst, cost),), (tat,), now_ns, facts, headers
            )
        if not headers:
            return None
        return told(*limit_headers.left_of(limit, tat - now_ns))

    return count


def _several(limits: tuple[Limit, ...]) -> Quick:
    policy = ("RateLimit-Policy", ", ".join(limit.policy for limit in limits))

    def count(facts: Facts, address: str, cells: Cells, now_ns: int, headers: bool) -> Verdict | None:
        charges = [
            (key_of(limit, facts, address), limit.emission, limit.burst_ns, limit.cost) for limit in limits
        ]
        admitted, tats = cells.gcra_all(charges, now_ns)
        if not admitted:
            return limit_headers.refused(limits, charges, tats, now_ns, facts, headers)
        if not headers:
            return None
        return Verdict(headers=(policy, ("RateLimit", limit_headers.state(limits, tats, now_ns))))

    return count
