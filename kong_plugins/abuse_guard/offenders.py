"""Offenders: how often a scenario has found somebody, on all nodes: each block is longer than the one before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kong_plugins.abuse_guard.held import UNDER_WAY_SECONDS

FORGIVEN_AFTER = 7 * 86_400.0
"""Seconds after the last offence; then the next one is a first one."""
_MOST_OFFENCES = 1000

Key = tuple[str, str]
"""The scenario's id and the group."""


class _Offender:
    __slots__ = ("count", "last", "quiet_until")

    def __init__(self, count: int = 0, last: float = 0.0, quiet_until: float = 0.0) -> None:
        self.count, self.last, self.quiet_until = count, last, quiet_until


class Offenders:
    """limit: so many, of whom the one whose last offence is longest ago makes room. Times are Unix seconds."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[Key, _Offender] = OrderedDict()
        self._untold: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    def before(self, key: Key, now: float) -> int | None:
        """His offences before this one; None where this is what was under way when the last one was found."""
        offender = self._held.get(key)
        if offender is None or now - offender.last > FORGIVEN_AFTER:
            return 0
        return None if now < offender.quiet_until else offender.count

    def found(self, key: Key, ttl: float, counts: bool, now: float) -> None:
        """He was found. ttl: seconds that what was done holds; counts: something was done to him."""
        known = self._held.get(key)
        count = known.count if known is not None and now - known.last <= FORGIVEN_AFTER else 0
        self._put(key, _Offender(count + counts, now, now + min(ttl, UNDER_WAY_SECONDS)))
        if counts:
            self._untold[key] = None

    def told(self, most: int, now: float) -> list[list[Any]]:
        """What other nodes do not know yet: [scenario, group, offences, seconds in which nothing counts]."""
        keys = [key for key in self._untold if key in self._held][:most]
        self._untold.clear()
        return [[*key, self._held[key].count, max(0.0, self._held[key].quiet_until - now)] for key in keys]

    def merge(self, rows: Iterable[Any], now: float) -> None:
        """What another node told just now: there somebody was found, and what was done to him holds here too.

        Of any scenario: its config may come here with the first request of its route.
        """
        for row in rows:
            try:
                scenario, group, count, quiet = str(row[0]), str(row[1]), int(row[2]), float(row[3])
            except (IndexError, KeyError, OverflowError, TypeError, ValueError):
                continue  # of a node of another version
            if not 0 < count <= _MOST_OFFENCES:
                continue
            known = self._held.get((scenario, group), _Offender())
            until = now + min(quiet, UNDER_WAY_SECONDS)
            self._put((scenario, group), _Offender(max(count, known.count), now, until))

    def keep(self) -> list[list[Any]]:
        """All of them, for the process that takes over."""
        return [[*key, one.count, one.last, one.quiet_until] for key, one in self._held.items()]

    def resume(self, rows: Iterable[Sequence[Any]], is_known: Callable[[str], bool]) -> None:
        """Take over what `keep` wrote. Raises ValueError or TypeError for what it did not write."""
        for scenario, group, count, last, quiet_until in rows:
            if is_known(scenario):
                self._put((str(scenario), str(group)), _Offender(int(count), float(last), float(quiet_until)))

    def _put(self, key: Key, offender: _Offender) -> None:
        if key not in self._held and len(self._held) >= self._limit:
            self._held.popitem(last=False)
        self._held[key] = offender
        self._held.move_to_end(key)
