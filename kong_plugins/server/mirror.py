"""The control state as one worker holds it: what the supervisor passed on, put together."""

from __future__ import annotations

import logging
import os
from typing import Any

from kong_plugins.identity.trust import Trust
from kong_plugins.server.decider import Decider
from kong_plugins.state.base import State
from kong_plugins.state.cells import Cells
from kong_plugins.state.deltas import apply_all, delta_of
from kong_plugins.state.image import Image, StateFileError
from kong_plugins.state.snapshot import Snapshot, empty_snapshot, snapshot_of

log = logging.getLogger("kgate.worker")


class Mirror:
    """Gives the decider each new state whole. What cannot be used leaves the last one in place."""

    def __init__(self, decider: Decider, trust: Trust, cells: Cells) -> None:
        self._decider, self._trust, self._cells = decider, trust, cells
        self._told = (0, 0)
        self.snapshot: Snapshot | None = None

    def image(self, wire: list[Any], fd: int | None) -> None:
        """An image, with the changes since; the descriptor is closed here."""
        if fd is None:
            log.error(
                "no file descriptor for the control state: the last one stays; raise the limit (ulimit -n)"
            )
            return
        try:
            # together: a revocation among the changes must not be lifted for the moment between
            self._use(apply_all(snapshot_of(Image.open(fd)), [delta_of(each) for each in wire]))
        except (StateFileError, ValueError) as error:
            log.error("an image of the control state cannot be used, the last one stays: %s", error)
        finally:
            os.close(fd)

    def delta(self, wire: Any) -> None:
        """A change."""
        if self.snapshot is None:
            return  # its image could not be used
        try:
            self._use(delta_of(wire).applied_to(self.snapshot))
        except ValueError as error:
            log.error("a change of the control state cannot be used: %s", error)

    def empty(self) -> None:
        """There is no store: nothing is blocked or revoked."""
        self._use(empty_snapshot())

    def _use(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # opening a key takes longer than a request has time
        self._trust.follow(snapshot)
        # one assignment: a decision sees the old state or the new one, whole
        self._decider.state = State(snapshot, self._trust, {}, self._cells)

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
