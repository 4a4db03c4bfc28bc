"""Governor: the breaker on the blocker. It watches the last minute or two and says which blocks may be made.

A block that would take away more than a share of what is answered well, or that makes more than a share of the
minute's addresses blocked, is not made: then the rule is wrong, or it is no case for a machine. Well-answered
requests count, because an attack may be most of the traffic, but it is hardly ever most of what succeeds.
"""

from __future__ import annotations

from kong_plugins.abuse_guard.sketch import CountMin, Distinct

WINDOW_SECONDS = 60.0
FREE_BLOCKS = 10
"""Blocks of a minute that the share of addresses does not forbid: of few addresses every one is a large share."""
FEW_REQUESTS = 200
"""Below so many well-answered requests in the window a share of traffic says nothing."""


class _Minute:
    def __init__(self, start: float, seed: bytes) -> None:
        self.start = start
        self.addresses = Distinct(seed)
        self.good = CountMin(seed)
        self.good_requests = 0
        self.blocked_requests = 0
        self.blocks = 0


class Governor:
    """seed: 16 secret bytes, so that nobody can choose addresses that count as others."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._now = _Minute(0.0, seed)
        self._before = self._now
        self.refused = 0

    def saw(self, groups: tuple[str, ...], address: str, is_good: bool, now: float) -> None:
        """An outcome: who it was, as the keys of possible blocks; is_good: it was answered well."""
        self._turn(now)
        minute = self._now
        minute.addresses.add(address)
        if is_good:
            minute.good_requests += 1
            for group in groups:
                minute.good.add(group)

    def allows(
        self, group: str, addresses: int, traffic_share: float, address_share: float, now: float
    ) -> str:
        """Whether a block of `group` may be made now: "" or why not. It is counted as made.

        addresses: how many addresses it stands for; 0 for what slows down and takes traffic away alone. Shares: 0
        to 1.
        """
        self._turn(now)
        minutes = (self._now, self._before) if self._before is not self._now else (self._now,)
        blocks = sum(minute.blocks for minute in minutes)
        seen = max(minute.addresses.count() for minute in minutes)
        if addresses and blocks + addresses > max(FREE_BLOCKS, address_share * seen):
            self.refused += 1
            return f"{blocks} addresses blocked in the last minute, of {seen:.0f} seen"
        good = sum(minute.good_requests for minute in minutes)
        own = sum(minute.good.count(group) for minute in minutes)
        gone = sum(minute.blocked_requests for minute in minutes)
        if good >= FEW_REQUESTS and gone + own > traffic_share * good:
            self.refused += 1
            return f"{gone + own} of {good} well-answered requests of the last minute would be blocked"
        self._now.blocks += addresses
        self._now.blocked_requests += own
        return ""

    def _turn(self, now: float) -> None:
        passed = now - self._now.start
        if passed >= WINDOW_SECONDS:
            self._before = self._now if passed < 2 * WINDOW_SECONDS else _Minute(now, self._seed)
            self._now = _Minute(now, self._seed)
