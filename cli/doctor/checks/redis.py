"""Redis answers and forgets nothing: an evicted block is a block that is gone."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, World

NAME = "redis"
FULL = 0.9


def check(world: World) -> Iterator[Result]:
    """The one Redis of the control state."""
    redis = world.redis
    if redis is None:
        yield Result(NAME, "", SKIPPED, "no Redis was named", "give --redis URL or REDIS_URL")
        return
    target = redis.address
    if redis.error:
        do = "start Redis, or give the right one; servers go on with the last control state they saw"
        yield Result(NAME, target, ERROR, redis.error, do)
        return
    good = True
    if redis.role not in ("", "master"):
        good = False
        yield Result(
            NAME, target, ERROR, f"it is a {redis.role}: changes are refused", "give the primary's address"
        )
    if redis.policy is None:
        good = False
        do = "let its user run INFO (ACL +info), or see CONFIG GET maxmemory-policy yourself: noeviction"
        yield Result(NAME, target, SKIPPED, "it does not tell its eviction policy", do)
    elif redis.policy != "noeviction":
        good = False
        bounded = f"when its {redis.limit:,} bytes are full" if redis.limit else "as soon as maxmemory is set"
        said = f"maxmemory-policy {redis.policy}: {bounded} blocks, overrides and keys are thrown away"
        do = "CONFIG SET maxmemory-policy noeviction, and write it into redis.conf"
        yield Result(NAME, target, ERROR if redis.limit else WARNING, said, do)
    if redis.limit and redis.used > FULL * redis.limit:
        good = False
        said = f"{redis.used:,} of {redis.limit:,} bytes are used: soon changes are refused"
        yield Result(NAME, target, WARNING, said, "raise maxmemory")
    if good:
        yield Result(NAME, target, OK, f"Redis {redis.version}, maxmemory-policy {redis.policy}")
