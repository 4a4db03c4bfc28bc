"""Clocks agree: tokens and passports are valid for a time, bans and takeovers of keys begin and end at one."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, WARNING, Result, World

NAME = "clock"
MOST = 5.0
"""Seconds: the leeway that front servers give a passport."""
SOME = 2.0
"""Seconds: a Date header has whole ones, and a round trip takes its time."""


def check(world: World) -> Iterator[Result]:
    """Kong's nodes and Redis against this machine."""
    told = [(node.url, node.skew) for node in world.nodes]
    if world.redis is not None:
        told.append((world.redis.address, world.redis.skew))
    for target, skew in told:
        if skew is None:
            continue
        if abs(skew) <= SOME:
            yield Result(NAME, target, OK, "agrees with this machine's")
            continue
        said = f"is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        if abs(skew) > MOST:
            said += ": passports may be refused, bans last longer or shorter"
        do = "let an NTP client keep the time on both (chronyc tracking, timedatectl)"
        yield Result(NAME, target, ERROR if abs(skew) > MOST else WARNING, said, do)
