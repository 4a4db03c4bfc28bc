"""`kgate sync --wait-new`: look again and again for DB-less nodes that hold another config, new ones and those that
lost theirs, and push to them.

The lock is held during a push only, so that others may sync meanwhile. A newer config of theirs is not undone: the
watch ends there, and is begun again with the new files.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from cli import exit_codes
from cli.errors import FailedError
from cli.sync_run import Outcome, run
from cli.target import Target, holder
from decl.admin import AdminError
from decl.blobs import BlobError
from decl.history import Entry
from decl.lock import HeldError, Lease

WATCH_SECONDS = 1.0
FAILURES = 5
"""So many pushes in a row may fail: a node that has just started may not take one yet."""


def wait_new(
    target: Target, begun: Entry | None, seconds: float | None, report: Callable[[Outcome], None]
) -> int:
    """Watch for so many seconds, None for until it is stopped; the exit code.

    begun: the newest apply when the watch began. report: is told of each push.
    """
    end = None if seconds is None else time.monotonic() + seconds
    failures = 0
    while end is None or time.monotonic() < end:
        time.sleep(min(WATCH_SECONDS, seconds or WATCH_SECONDS))
        try:
            target.resolve_again()
            if not _foreign(target):
                continue
            with Lease(target.lock(), holder()) as lease:
                # looked at again: whoever held the lock until now may have been at these nodes
                foreign, last = _foreign(target), newest(target)
                if last is not None and last != begun and last.digest != target.rendered.hash:
                    click.echo(
                        f"kgate: apply {last.id} by {last.actor} brought another config, which is left alone; "
                        "start again with its files",
                        err=True,
                    )
                    return exit_codes.STALE_PLAN
                if not foreign:
                    continue
                outcome = _push(target, lease, foreign)
        except (HeldError, AdminError, BlobError, FailedError):
            continue  # another sync runs, or somebody is away who was there a moment ago
        report(outcome)
        failures = 0 if outcome.code == exit_codes.OK else failures + 1
        if failures == FAILURES:
            return outcome.code
    return exit_codes.OK


def _foreign(target: Target) -> list[str]:
    """The nodes with another config; those that are away may come again."""
    return [node for nodes, _ in target.compare(details=False).diffs for node in nodes]


def newest(target: Target) -> Entry | None:
    """The last apply of the cluster that reached its end, where the history tells it."""
    try:
        return target.history().last_applied()
    except BlobError:
        return None


def _push(target: Target, lease: Lease, urls: list[str]) -> Outcome:
    everyone = target.nodes
    target.nodes = tuple(node for node in everyone if node.url in urls)
    try:
        return run(target, target.compare(details=False), lease, "all-at-once", 1)
    finally:
        target.nodes = everyone
