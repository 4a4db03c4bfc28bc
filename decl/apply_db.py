"""Apply in DB mode: the writes over the dependency graph, and all of them taken back when one fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from decl.admin import AdminError
from decl.change import Change
from decl.graph import dependencies, reversed_needs, run
from decl.kinds import KINDS
from decl.server_schema import Schemas
from decl.stages import Stage, stages
from decl.writes import Write, inverse, write

WORKERS = 10
"""Connections; Python is busy with about that many."""

Outcome = Literal["unchanged", "changed", "rolled back", "partial"]


class Sends(Protocol):
    """What apply needs of a node."""

    def send(self, write: Write) -> None: ...


class Left(NamedTuple):
    """A change that is (or may be) made although the whole is not, and why it could not be taken back."""

    change: Change
    reason: str


class Applied(NamedTuple):
    """What happened. reason: why it stopped. left: with "partial" what is not as it was."""

    outcome: Outcome
    done: int = 0
    reason: str = ""
    failed: Change | None = None
    error: AdminError | None = None
    left: tuple[Left, ...] = ()


class StoppedError(Exception):
    """Something outside of Kong forbids to go on: the lock was lost, the adapter is not live."""


def stopped(check: Callable[[], None]) -> str | None:
    """Why check forbids to go on, None when it does not."""
    try:
        check()
    except StoppedError as error:
        return str(error)
    return None


def apply(
    changes: Sequence[Change],
    node: Sends,
    schemas: Schemas,
    *,
    workers: int = WORKERS,
    adapter_is_live: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Applied:
    """Make the changes. Raises AdminError when the node cannot be asked for its schemas before the first one.

    adapter_is_live: returns when the adapter answers for the config, raises StoppedError. check: called before
    each write, raises StoppedError when it must not be done. progress: called with how many of how many are done.
    """
    if not changes:
        return Applied("unchanged")
    return _Apply(changes, node, schemas, workers, adapter_is_live, check, progress).run()


class _Apply:
    def __init__(
        self,
        changes: Sequence[Change],
        node: Sends,
        schemas: Schemas,
        workers: int,
        adapter_is_live: Callable[[], None],
        check: Callable[[], None],
        progress: Callable[[int, int], None],
    ) -> None:
        self._stages = stages(changes)
        self._total = len(changes)
        self._node, self._workers = node, workers
        self._adapter_is_live, self._check, self._progress = adapter_is_live, check, progress
        self._schemas = schemas
        for kind, name in {(change.kind, (change.before or {}).get("name", "")) for change in changes}:
            # asked for now: a node that fails later cannot tell them, and undoing needs them
            schemas.fields(kind, {"name": name if kind == "plugins" else ""})
        self._touched: list[Change] = []  # done, or possibly done
        self._done = 0
        self._failed: tuple[Change | None, str, AdminError | None] | None = None
        self._mutex = threading.Lock()

    def run(self) -> Applied:
        for stage in self._stages:
            try:
                if stage.after_adapter:
                    self._adapter_is_live()
                self._stage(stage)
            except StoppedError as error:
                self._failed = self._failed or (None, str(error), None)
            except KeyboardInterrupt:
                self._failed = self._failed or (None, "it was interrupted", None)
            if self._failed is not None:
                return self._undone(*self._failed)
        return Applied("changed", self._done)

    def _stage(self, stage: Stage) -> None:
        needs = dependencies(stage.changes)
        before = self._done

        def one(number: int) -> bool:
            change = stage.changes[number]
            try:
                self._check()
                self._node.send(write(change))
            except StoppedError as error:
                with self._mutex:
                    self._failed = self._failed or (None, str(error), None)
                return False
            except AdminError as error:
                with self._mutex:
                    self._failed = self._failed or (change, error.reason, error)
                    if error.uncertain:
                        self._touched.append(change)
                return False
            with self._mutex:
                self._touched.append(change)
                self._done += 1
                self._progress(self._done, self._total)
            return True

        run(needs, one, self._workers)
        if self._failed is None and self._done - before < len(stage.changes):
            made = {(change.kind, change.id) for change in self._touched}
            names = [_name(change) for change in stage.changes if (change.kind, change.id) not in made]
            reason = (
                f"{_listed(names)} wait for one another: two swap a unique name; give one another name first"
            )
            self._failed = None, reason, None

    def _undone(self, failed: Change | None, reason: str, error: AdminError | None) -> Applied:
        left: list[Left] = []
        touched = {(change.kind, change.id) for change in self._touched}
        for stage in reversed(self._stages):
            changes = [change for change in stage.changes if (change.kind, change.id) in touched]
            left += self._undo(changes)
        if not touched:
            return Applied("unchanged", 0, reason, failed, error)
        outcome: Outcome = "partial" if left else "rolled back"
        return Applied(outcome, self._done, reason, failed, error, tuple(left))

    def _undo(self, changes: Sequence[Change]) -> list[Left]:
        left: list[Left] = []

        def one(number: int) -> bool:
            change = changes[number]
            request = inverse(change, self._schemas)
            reason = "its password cannot be written back: Kong tells only the hash"
            if request is not None:
                try:
                    self._node.send(request)
                    return True
                except AdminError as error:
                    reason = error.reason
            with self._mutex:
                left.append(Left(change, reason))
            return True  # the rest is taken back all the same

        run(reversed_needs(dependencies(changes)), one, self._workers)
        return left


def _name(change: Change) -> str:
    return f"{KINDS[change.kind].singular} {change.name}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
