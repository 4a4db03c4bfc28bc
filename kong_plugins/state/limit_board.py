"""What each node's limits refused lately, where operators can read it: a hash in Redis, one field a node."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kong_plugins.state.cells import Cells
from kong_plugins.state.gcra import retry_after
from kong_plugins.state.limits import Limited

MOST_KEYS = 50
"""Of one node."""
EVERY_NS = 10**9
OLD_SECONDS = 10.0
"""What a node told longer ago is not shown."""
_GONE_SECONDS = 120
_SWEEP = 60


def board_key(prefix: str) -> str:
    """The hash of a namespace (see `connection.key_prefix`)."""
    return f"{prefix}limited"


class Board:
    """One node's side; `tell` is called often and writes once a second, where there is something to tell."""

    def __init__(self, cells: Cells, prefix: str) -> None:
        self._cells = cells
        self._key, self._node = board_key(prefix), cells.memory.node.hex()
        self._next = 0
        self._told = True
        self._count = 0

    def tell(self, client: Any) -> None:
        """Raises redis.RedisError and OSError."""
        now = self._cells.now()
        if now < self._next:
            return
        self._next = now + EVERY_NS
        rows = [
            [
                refused.key,
                refused.times,
                (retry_after(self._cells.tat(refused.key, now), now, refused.emission, refused.burst) or 0)
                / 1e9,
                refused.burst // refused.emission if refused.emission else 0,
                refused.emission / 1e9,
            ]
            for refused in self._cells.refusals.latest(now, MOST_KEYS)
        ]
        if not rows and not self._told:
            return
        pipeline = client.pipeline(transaction=False)
        if rows:
            seconds, _ = client.time()
            pipeline.hset(self._key, self._node, json.dumps([int(seconds), rows], separators=(",", ":")))
            pipeline.expire(self._key, _GONE_SECONDS)
        else:
            pipeline.hdel(self._key, self._node)
        pipeline.execute()
        self._told = bool(rows)
        self._count += 1
        if rows and self._count % _SWEEP == 0:
            self._sweep(client, int(seconds))

    def _sweep(self, client: Any, now: int) -> None:
        """Take away what nodes told that are gone."""
        old = [
            node for node, text in client.hgetall(self._key).items() if now - _read(text)[0] > _GONE_SECONDS
        ]
        if old:
            client.hdel(self._key, *old)


def _read(text: str | bytes) -> tuple[float, list[Any]]:
    try:
        at, rows = json.loads(text)
        return float(at), list(rows)
    except (TypeError, ValueError):
        return 0.0, []


def limited(told: Mapping[str, str], now: float) -> list[Limited]:
    """What all nodes told, by key, the most often refused first. now: the store's, Unix seconds."""
    found: dict[str, Limited] = {}
    for text in told.values():
        at, rows = _read(text)
        if now - at <= OLD_SECONDS:
            for one in _rows(rows, now - at):
                old = found.get(one.key)
                found[one.key] = one if old is None else _merged(old, one)
    return sorted(found.values(), key=lambda one: (-one.refused, one.key))


def _merged(old: Limited, one: Limited) -> Limited:
    return old._replace(refused=old.refused + one.refused, nodes=old.nodes + 1, wait=max(old.wait, one.wait))


def _rows(rows: Iterable[Any], age: float) -> Iterable[Limited]:
    number: Callable[[Any], float] = float
    for row in rows:
        try:
            key, count, wait, capacity, seconds = row
            wait = max(0.0, round(number(wait) - age, 3))
            yield Limited(str(key), int(count), 1, wait, int(capacity), number(seconds))
        except (TypeError, ValueError):
            continue  # of a newer kgate
