"""The generic cell rate algorithm: a rate limit that is one number per key.

Source: ITU-T I.371, annex A.1 (virtual scheduling algorithm), in the usual form with a theoretical arrival
time (TAT). All times are integers in nanoseconds of one clock; the caller gives `now`.

    emission   time that one request pays for: 1 / rate
    burst      how far the TAT may be ahead of now: capacity x emission (so a limit of 5 admits 5 at once;
               the standard's tolerance tau is burst - emission)

A request of some cost is admitted when max(TAT, now) + cost x emission - now <= burst, and that sum is the
new TAT. A refused request changes nothing, so a client that hammers is not shut out for longer. Hence in any
time t at most burst + t is admitted (in units of emission), and a client that waits `retry_after` is
admitted. A TAT in the past says the same as none.

Clock jumps. Forward: at most one more burst is admitted. Backward: a TAT seems to be far ahead; it is taken
for at most `MAX_DEBT` x (burst + 0.1 s) ahead, so nobody waits for longer than that. It is not cut at the
burst itself, because what other nodes admitted in the same moment (within 0.1 s) is a debt that has to be
paid back before the rate over all nodes is right again.
"""

from __future__ import annotations

MAX_DEBT = 16
"""Nodes whose bursts may add up in one TAT; more than that is forgotten."""

EXCHANGE_NS = 100_000_000
"""What nodes know of each other is at most this old."""


def decide(tat: int, now: int, emission: int, burst: int, cost: int = 1) -> tuple[bool, int]:
    """Is a request admitted now? Returns (admitted, TAT after it). Refused: the TAT is only bounded."""
    start = tat if tat > now else now
    ahead = start - now
    if ahead > burst and ahead > (most := MAX_DEBT * (burst + EXCHANGE_NS)):
        start = now + most
    after = start + cost * emission
    if after - now > burst:
        return False, start
    return True, after


def charge(tat: int, now: int, amount: int) -> int:
    """The TAT after `amount` nanoseconds were spent elsewhere at the time `now`: nothing is asked."""
    return (tat if tat > now else now) + amount


def remaining(tat: int, now: int, emission: int, burst: int) -> int:
    """How many requests of cost 1 would be admitted now."""
    free = burst - max(tat - now, 0)
    return free // emission if free > 0 else 0


def retry_after(tat: int, now: int, emission: int, burst: int, cost: int = 1) -> int | None:
    """Nanoseconds until a request of this cost is admitted, 0 for now, None for never (cost > capacity)."""
    if cost * emission > burst:
        return None
    return max(max(tat, now) + cost * emission - burst - now, 0)


def full_after(tat: int, now: int) -> int:
    """Nanoseconds until the whole burst is there again."""
    return max(tat - now, 0)
