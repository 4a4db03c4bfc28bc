"""RateLimit, RateLimit-Policy and Retry-After.

Source: draft-ietf-httpapi-ratelimit-headers-11 (structured fields, RFC 9651): RateLimit-Policy names each policy with
its quota `q` and window `w` in seconds, RateLimit says for each the quota that is left (`r`) and for how many seconds
it will not be more than that (`t`). Retry-After: RFC 9110, section 10.2.3, in seconds, and not before
the `t` of what refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from kong_plugins.abuse_guard.limit_config import Limit
from kong_plugins.engine.facts import Facts
from kong_plugins.engine.problem import problem
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.state.cells import Charged
from kong_plugins.state.gcra import retry_after

_SECOND = 1_000_000_000


def marks(limits: Sequence[Limit], tats: Sequence[int], now_ns: int) -> Pairs:
    """The two headers of these limits. tats: theoretical arrival times in nanoseconds, in their order."""
    policy = ", ".join([limit.policy for limit in limits])
    return (("RateLimit-Policy", policy), ("RateLimit", state(limits, tats, now_ns)))


def state(limits: Sequence[Limit], tats: Sequence[int], now_ns: int) -> str:
    """The value of RateLimit."""
    told = ""
    for limit, tat in zip(limits, tats):  # noqa: B905 - of one length; every request comes here
        left, seconds = left_of(limit, tat - now_ns)
        one = f"{limit.label}{left};t={seconds}"
        told = f"{told}, {one}" if told else one
    return told


def left_of(limit: Limit, ahead: int) -> tuple[int, int]:
    """How many requests are left of a limit whose TAT is so many nanoseconds ahead, and the seconds, rounded up,
    until there is one more; 0 when none is missing."""
    if ahead <= 0:
        return limit.burst, 0
    free, emission = limit.burst_ns - ahead, limit.emission
    left = free // emission if free > 0 else 0
    return left, -((free - (left + 1) * emission) // _SECOND)


def wait_seconds(charges: Sequence[Charged], tats: Sequence[int], now_ns: int) -> tuple[int, int]:
    """Seconds until all of them admit the request, at least 1, and which one waits longest."""
    waits = [
        retry_after(tat, now_ns, emission, burst, cost) or 0
        for (_, emission, burst, cost), tat in zip(charges, tats, strict=True)
    ]
    worst = max(range(len(waits)), key=waits.__getitem__)
    return max(1, -(-waits[worst] // _SECOND)), worst


def refused(
    limits: Sequence[Limit],
    charges: Sequence[Charged],
    tats: Sequence[int],
    now_ns: int,
    facts: Facts,
    headers: bool,
) -> Verdict:
    """The 429 of limits that do not admit a request, with what they say (`headers`) and when to come again."""
    wait, worst = wait_seconds(charges, tats, now_ns)
    told: Pairs = (("Retry-After", str(wait)),)
    if headers:
        told += marks(limits, tats, now_ns)
    detail = f"The limit {limits[worst].name} is reached. Try again in {wait} s."
    return problem(429, "rate_limited", detail, facts.request_id, told)._replace(
        memo=f"limit={limits[worst].name}"
    )
