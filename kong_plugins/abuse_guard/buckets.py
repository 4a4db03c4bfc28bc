"""Buckets: the level of each scenario and group, in bounded memory.

A leaky bucket loses `leak` a second; a counter is empty again when its window has passed. With `distinct` a value
that is in the bucket adds nothing, until it has leaked out. The longest untouched bucket makes room for a new one, of
several such the emptiest; what is touched stays.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any, NamedTuple

from kong_plugins.abuse_guard.scenario import MAX_DISTINCT, Scenario

MAX_BUCKETS = 50_000
MAX_VALUES = 500_000
"""Different values in all buckets together: about 80 MB, where attackers fill each to its capacity."""
_LOOKED_AT = 8


class Bucket:
    """level is what is in it at `time`; values: the different values, by when they came; since: its first
    drop; unsent: what other nodes do not know yet."""

    __slots__ = ("level", "since", "time", "unsent", "unsent_values", "values")

    def __init__(self, now: float, distinct: bool) -> None:
        self.level = 0.0
        self.time = self.since = now
        self.values: dict[str, float] | None = {} if distinct else None
        self.unsent = 0.0
        self.unsent_values: list[str] = []

    def settle(self, scenario: Scenario, now: float) -> None:
        """Let out what has leaked since the last time."""
        passed = now - self.time
        if scenario.window:
            if now - self.since >= scenario.window:
                self._empty(now)
        elif passed > 0:
            self.level = max(0.0, self.level - passed * scenario.leak)
            if self.level == 0.0:
                self._empty(now)
            elif self.values is not None:
                # the oldest leak first
                for value in list(islice(self.values, max(0, len(self.values) - int(self.level) - 1))):
                    del self.values[value]
        if passed > 0:
            self.time = now

    def pour(self, amount: float, value: str, now: float) -> bool:
        """Add; False when the value was in it already."""
        if self.values is not None:
            if value in self.values or len(self.values) >= MAX_DISTINCT:
                return False
            self.values[value] = now
        self.level += amount
        return True

    @property
    def size(self) -> int:
        """How many different values it holds."""
        return len(self.values) if self.values else 0

    def drain(self, amount: float) -> None:
        """Take out."""
        self.level = max(0.0, self.level - amount)

    def _empty(self, now: float) -> None:
        self.level, self.since = 0.0, now
        if self.values:
            self.values.clear()


class Told(NamedTuple):
    """What came into a bucket since it was last told."""

    scenario: str
    group: str
    amount: float
    values: list[str]


class Buckets:
    """All buckets of a process, by scenario id and group."""

    def __init__(self, limit: int = MAX_BUCKETS, values: int = MAX_VALUES) -> None:
        self._limit, self._most_values = limit, values
        self._values = 0
        self._held: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._untold: dict[tuple[str, str], None] = {}
        self.evicted = 0

    @property
    def values(self) -> int:
        """Different values in all of them."""
        return self._values

    def __len__(self) -> int:
        return len(self._held)

    def pour(
        self, scenario: Scenario, group: str, value: str, now: float, amount: float = 1.0, tell: bool = True
    ) -> Bucket | None:
        """Count; the bucket when it overflows, which is then gone."""
        key = (scenario.id, group)
        bucket = self._held.get(key)
        if bucket is None:
            if len(self._held) >= self._limit:
                self._make_room()
            bucket = self._held[key] = Bucket(now, bool(scenario.distinct))
        else:
            self._held.move_to_end(key)
            self._settle(bucket, scenario, now)
        if not bucket.pour(amount, value, now):
            return None
        if bucket.values is not None:
            self._values += 1
            while self._values > self._most_values and len(self._held) > 1:
                self._make_room()
        if tell:
            bucket.unsent += amount
            if scenario.distinct and len(bucket.unsent_values) < MAX_DISTINCT:
                bucket.unsent_values.append(value)
            self._untold[key] = None
        if bucket.level <= scenario.capacity:
            return None
        self._forget(key)
        return bucket

    def drain(self, scenario: Scenario, group: str, amount: float, now: float) -> None:
        """A well-answered request: some goes out, where there is something."""
        bucket = self._held.get((scenario.id, group))
        if bucket is not None:
            self._settle(bucket, scenario, now)
            bucket.drain(amount)

    def level(self, scenario: Scenario, group: str, now: float) -> float:
        """What is in a bucket."""
        bucket = self._held.get((scenario.id, group))
        if bucket is None:
            return 0.0
        self._settle(bucket, scenario, now)
        return bucket.level

    def told(self, most: int) -> Iterator[Told]:
        """What is new, the fullest first; what is beyond `most` comes the next time, if it is there then."""
        keys = [key for key in self._untold if key in self._held]
        keys.sort(key=lambda key: -self._held[key].level)
        for key in keys[:most]:
            bucket = self._held[key]
            yield Told(key[0], key[1], bucket.unsent, bucket.unsent_values)
            bucket.unsent, bucket.unsent_values = 0.0, []
        self._untold = dict.fromkeys(keys[most : 4 * most])

    def kept(self, most: int, values: int) -> list[list[Any]]:
        """The fullest, for the process that takes over: [scenario, group, level, since, time, values]. At most so
        many, with so many different values together."""
        rows: list[list[Any]] = []
        for key, one in nlargest(most, self._held.items(), key=lambda item: item[1].level):
            if one.size <= values:
                values -= one.size
                rows.append([*key, one.level, one.since, one.time, one.values])
        return rows[::-1]  # the emptiest first: it makes room first

    def resume(self, rows: Iterable[Sequence[Any]], scenarios: Mapping[str, Scenario]) -> None:
        """Take over what `kept` wrote, of these scenarios by id. Raises ValueError or TypeError for what it did not
        write."""
        for scenario_id, group, level, since, time, values in rows:
            scenario, key = scenarios.get(scenario_id), (scenario_id, group)
            if scenario is None or key in self._held or len(self._held) >= self._limit:
                continue
            bucket = Bucket(float(since), bool(scenario.distinct))
            bucket.level, bucket.time = float(level), float(time)
            if bucket.values is not None:
                bucket.values = {str(value): float(at) for value, at in dict(values).items()}
            self._held[key] = bucket
            self._values += bucket.size

    def keep(self, ids: Sequence[str]) -> None:
        """Forget the buckets of scenarios that are not among these."""
        for key in [key for key in self._held if key[0] not in ids]:
            self._forget(key)

    def _settle(self, bucket: Bucket, scenario: Scenario, now: float) -> None:
        before = bucket.size
        bucket.settle(scenario, now)
        self._values -= before - bucket.size

    def _make_room(self) -> None:
        # never the last one: it is what room is made for
        oldest = list(islice(self._held, max(1, min(_LOOKED_AT, len(self._held) - 1))))
        self._forget(min(oldest, key=lambda key: self._held[key].level))
        self.evicted += 1

    def _forget(self, key: tuple[str, str]) -> None:
        self._values -= self._held.pop(key).size
        self._untold.pop(key, None)
