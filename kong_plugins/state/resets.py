"""Operators' resets of limits, made on one node's cells: each once, by the keeper."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Protocol

from kong_plugins.state.cell_memory import RESET_WORD
from kong_plugins.state.cells import Cells
from kong_plugins.state.deltas import Delta
from kong_plugins.state.limits import ALL, LimitReset, of_client, part_of, reset_of
from kong_plugins.state.overlay import unpack_changes
from kong_plugins.state.records import Put
from kong_plugins.state.refusals import ENTRIES
from kong_plugins.state.snapshot import Snapshot

MAX_WAITING = 1_000


class Told(Protocol):
    """Who counts what other nodes used (see `exchange.py`)."""

    def forget(self, key: str | None) -> None: ...


class Resets:
    """Makes them. The place that it has come to is in the shared memory: a keeper that is started again does not
    forget what was counted since. exchange: what others used before the reset, and told later, is not counted."""

    def __init__(self, cells: Cells, exchange: Told) -> None:
        self._cells, self._exchange = cells, exchange
        self._waiting: dict[str, None] = {}
        self.made = 0

    def image(self, snapshot: Snapshot) -> None:
        """All of a state: those that were not made yet."""
        done = self._cells.memory.words[RESET_WORD]
        resets: Iterable[LimitReset] = snapshot.records("limits").values()
        self._make([reset for reset in resets if int(reset.changed * 1e6) > done])

    def delta(self, delta: Delta) -> None:
        """A change, told once."""
        found = []
        for change in unpack_changes(delta.changes):
            if isinstance(change, Put) and change.record.collection == "limits":
                with suppress(ValueError):  # what cannot be read is told with the next image
                    found.append(reset_of(change.record))
        self._make(found)

    def retry(self) -> None:
        """Those whose lock could not be had. Call it now and then."""
        for key in list(self._waiting):
            self._try(key)

    def _make(self, resets: list[LimitReset]) -> None:
        words = self._cells.memory.words
        for reset in sorted(resets, key=lambda each: each.changed):
            self._try(reset.key)
            self.made += 1
            words[RESET_WORD] = max(words[RESET_WORD], int(reset.changed * 1e6))

    def _try(self, key: str) -> None:
        cells = self._cells
        part = part_of(key)
        if part:
            known = [refused.key for refused in cells.refusals.latest(cells.now(), ENTRIES)]
            for each in of_client(part, known):
                self._try(each)
            return
        every = key == ALL
        self._exchange.forget(None if every else key)
        cells.refusals.forget(None if every else key)
        clear: Callable[[], bool] = cells.reset_all if every else lambda: cells.reset(key)
        if clear():
            self._waiting.pop(key, None)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting[key] = None
