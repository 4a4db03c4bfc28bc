"""The keys that sign passports: one signs, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator

from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, World

NAME = "keys"
_DAY = 86_400.0


def check(world: World) -> Iterator[Result]:
    """The keyring in Redis."""
    if world.keys is None:
        yield Result(
            NAME, "", SKIPPED, "the keyring was not looked at", "give --redis, where it keeps the keys"
        )
        return
    if not world.keys:
        do = "with `keyring: {store: redis}` run `kgate keys init`; with a key file there is nothing to do"
        yield Result(NAME, "", SKIPPED, "there is no keyring in Redis", do)
        return
    current = [key for key in world.keys if key.state == "current"]
    if not current:
        yield Result(
            NAME, "", ERROR, "no key signs", "run `kgate keys list`, then `kgate keys init` or `rotate`"
        )
    for key in current:
        days, most = key.age / _DAY, world.max_key_age / _DAY
        if key.age > world.max_key_age:
            said = f"signs for {days:.0f} days, longer than {most:.0f}"
            yield Result(NAME, key.kid, WARNING, said, "run `kgate keys rotate`")
        else:
            yield Result(NAME, key.kid, OK, f"signs for {days:.0f} days")
