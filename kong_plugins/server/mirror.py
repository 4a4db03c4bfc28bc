"""The control state as one worker holds it: what the supervisor passed on, put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kong_plugins.identity.trust import Trust
from kong_plugins.server.decider import Decider
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.deltas import apply_all, delta_of, with_local
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.snapshot import Snapshot, empty_snapshot, snapshot_of

log = logging.getLogger("kgate.worker")


SMALL = 1 << 20
"""Bytes: an image of so many is used at once."""
PAUSE_SECONDS = 0.001
Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, in this thread."""


class Mirror:
    """Gives the decider each new state whole. What cannot be used leaves the last one in place.

    A large image is mapped page by page between requests before it is used: else each of the first thousands of
    requests would wait for pages. later: how to wait; without it all images are used at once. changed: called after
    each new state.
    """

    def __init__(
        self,
        decider: Decider,
        trust: Trust,
        cells: Cells,
        later: Later | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._decider, self._trust, self._cells = decider, trust, cells
        self._later, self._changed = later, changed
        self._told = (0, 0)
        self._coming: Snapshot | None = None
        self._steps: Iterator[None] = iter(())
        self.snapshot: Snapshot | None = None

    def image(self, wire: list[Any], fd: int | None, local: Sequence[Any] = ()) -> None:
        """An image, with the changes since, and those of this node alone; the descriptor is closed here."""
        if fd is None:
            log.error(
                "no file descriptor for the control state: the last one stays; raise the limit (ulimit -n)"
            )
            return
        try:
            image = Image.open(fd)
            # together: a revocation or a block among the changes must not be lifted for the moment between
            snapshot = apply_all(snapshot_of(image), [delta_of(each) for each in wire])
            snapshot = with_local(snapshot, [delta_of(each) for each in local])
            if self._later is None or self.snapshot is None or image.size <= SMALL:
                self._use(snapshot)
            else:
                waiting, self._coming, self._steps = self._coming, snapshot, image.touched()
                if waiting is None:
                    self._step(self._later)
        except (StateFileError, ValueError) as error:
            log.error("an image of the control state cannot be used, the last one stays: %s", error)
        finally:
            os.close(fd)

    def _step(self, later: Later) -> None:
        """Map a part of the image that is coming, and use it after the last one."""
        if self._coming is None:
            return  # something else came
        if next(self._steps, self) is self:
            self._use(self._coming)
        else:
            later(PAUSE_SECONDS, lambda: self._step(later))

    def delta(self, wire: Any) -> None:
        """A change."""
        if self.snapshot is None:
            return  # its image could not be used
        try:
            delta, coming = delta_of(wire), self._coming
            self._use(delta.applied_to(self.snapshot))
            if coming is not None:
                self._coming = delta.applied_to(coming)
        except ValueError as error:
            log.error("a change of the control state cannot be used: %s", error)

    def empty(self) -> None:
        """There is no store: nothing is blocked or revoked."""
        self._use(empty_snapshot())

    def _use(self, snapshot: Snapshot) -> None:
        self.snapshot, self._coming = snapshot, None
        # opening a key takes longer than a request has time
        self._trust.follow(snapshot)
        # one assignment: a decision sees the old state or the new one, whole
        self._decider.state = State(snapshot, self._trust, {}, self._cells)
        self._changed()

    def report(self) -> dict[str, Any]:
        """For the supervisor: the version, lists that are named but not there, and what the cells met since the last
        report (live entries that made room, locks that could not be had)."""
        if self._cells.alone:
            self._cells.flush(self._cells.now())
        counted, before = (self._cells.evicted, self._cells.missed), self._told
        self._told = counted
        return {
            "version": 0 if self.snapshot is None else self.snapshot.version,
            "cells": [counted[0] - before[0], counted[1] - before[1]],
            "missing_lists": self._missing_lists(),
        }

    def _missing_lists(self) -> list[str]:
        snapshot = self.snapshot
        if snapshot is None:
            return []
        named = set(self._decider.list_names())
        named |= {canary.users_list for canary in snapshot.canaries.values() if canary.users_list}
        return sorted(name for name in named if name not in snapshot.lists)
