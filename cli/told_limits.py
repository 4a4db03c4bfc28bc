"""Limits as the nodes tell of them, for a decision that is made beside them (`kgate explain`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kong_plugins.state.cells import Charged
from kong_plugins.state.limits import Limited


class ToldLimits:
    """Stands in for the counters of a node, which only its own processes can read: it refuses what a node refused
    last (the keys of `kgate limits list`) until its next request would be admitted, and counts nothing.

    Times are nanoseconds; see `Cells`.
    """

    def __init__(self, limited: Iterable[Limited]) -> None:
        waiting = [one for one in limited if one.wait > 0]
        self._waits = {one.key: int(one.wait * 1e9) for one in waiting}
        self._ahead = {one.key: int((one.wait + (one.capacity - 1) * one.seconds) * 1e9) for one in waiting}

    def at(self, now: float) -> int:
        """The moment `now` (Unix seconds) on this clock."""
        return int(now * 1e9)

    def gcra(self, key: str, emission: int, burst: int, now: int, cost: int = 1) -> tuple[bool, int]:
        """Whether a request would be admitted, and the key's theoretical arrival time."""
        wait = self._waits.get(key, 0)
        return not wait, now + max(0, wait + burst - cost * emission) if wait else now

    def gcra_all(self, charges: Sequence[Charged], now: int) -> tuple[bool, list[int]]:
        """`gcra` of several keys: all must admit it."""
        found = [self.gcra(key, emission, burst, now, cost) for key, emission, burst, cost in charges]
        return all(admitted for admitted, _ in found), [tat for _, tat in found]

    def tat(self, key: str, now: int) -> int:
        """The theoretical arrival time of a key; of what is not refused it is not known, and `now`."""
        return now + self._ahead.get(key, 0)

    def note_refused(self, charges: Sequence[Charged], tats: Sequence[int], now: int) -> bool:
        """Whether one of these limits refuses."""
        return not self.gcra_all(charges, now)[0]
