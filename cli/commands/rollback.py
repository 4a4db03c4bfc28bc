"""kgate rollback"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cli import exit_codes
from cli.commands.diff import looked
from cli.commands.sync import _report, _with_progress
from cli.errors import FailedError, UsageError
from cli.options import file_option
from cli.sync_run import Outcome
from cli.target import Target, holder, open_target, target_options
from decl.admin import AdminError
from decl.apply import EMPTY_CONFIG
from decl.blobs import BlobError
from decl.change import Change
from decl.compare import Seen
from decl.history import Entry, History
from decl.kinds import KINDS
from decl.kong.hashed import HASHED, is_hashed
from decl.load import Text, load
from decl.lock import HeldError, Lease
from decl.render import EMPTY_HASH, Rendered
from decl.server_schema import TOLD_ONLY
from decl.source import Sources


@click.command(name="rollback")
@file_option
@target_options
@click.option(
    "--to",
    "to",
    help="The apply of the history whose config comes back.  [default: what was before the last]",
)
@click.option("--list", "only_list", is_flag=True, help="Show the history and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, in a terminal.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    to: str | None,
    only_list: bool,
    yes: bool,
    output: str,
    **where: Any,
) -> int:
    """Bring the nodes of a cluster back to what an earlier apply made.

    Without --to it takes the last apply back, also one that was killed on its way, and with it those before it that
    were killed or applied in part. The bytes come from the history, not from the files: those still say what they
    said, so the next sync brings it again.

    \b
    Examples:
      kgate rollback --list
      kgate rollback --yes
      kgate rollback --to 12 --yes

    Exit codes: as kgate sync.
    """
    target = open_target(ctx, files, output, **where)
    try:
        history = target.history()
        if only_list:
            _show(history.entries(), output)
            return exit_codes.OK
        with Lease(target.lock(), holder()) as lease:
            # only now: until then another run may apply something
            document = _document(target, history, history.entries(), to)
            target.rendered, target.sources = Rendered(target.name, document, {}), Sources(())
            seen, lost = _without_lost(looked(target, lambda: None))
            if not yes and sys.stdin.isatty():
                click.confirm(f"Bring {target.name} back?", abort=True, err=True)
            outcome = _with_progress(target, seen, lease, target.settings.strategy, 10, output)
            outcome = _with_lost(outcome, lost)
    except HeldError as error:
        click.echo(
            f"kgate: {error}; wait for it (the lock of a killed run ends within a minute), or look with kgate status",
            err=True,
        )
        return exit_codes.LOCK_HELD
    except (BlobError, AdminError) as error:
        raise FailedError(str(error)) from error
    _report(target, outcome, output)
    return outcome.code


def _document(target: Target, history: History, entries: list[Entry], to: str | None) -> dict[str, Any]:
    if to is not None:
        found = next((entry for entry in entries if entry.id == to), None)
        if found is None:
            raise UsageError(f"there is no apply {to!r}; see kgate rollback --list")
        if not history.is_own(found):
            raise UsageError(f"apply {to} was of {_owner(found)}, whose entities are not ours")
        return _loaded(history.content(found.digest), f"the config of apply {to}")
    own = history.own()
    if not own:
        raise UsageError("the history is empty: nothing was applied from here")
    last = _to_take_back(own)
    if target.mode != "dbless":
        flat = _loaded(history.content(last.snapshot), "what the database held before")
        # Kong told only the hash of a password, and would hash it again: it stays what it is
        target.ignore = ("basicauth_credentials.password",)
        for kind, field in HASHED.items():
            for credential in flat.get(kind, {}).values():
                if is_hashed(kind, credential):
                    credential.pop(field, None)
        for kind, told in TOLD_ONLY.items():
            for entity in flat.get(kind, {}).values():
                for name in told:
                    entity.pop(name, None)
        return {"_format_version": "3.0", **{kind: list(flat.get(kind, {}).values()) for kind in KINDS}}
    hashes = set(last.before.values())
    if len(hashes) != 1:
        raise UsageError(
            "the nodes held different configs before; choose one with --to, see kgate rollback --list"
        )
    (held,) = hashes
    content = EMPTY_CONFIG if held == EMPTY_HASH else history.content(held)
    return _loaded(content, f"the config {held}, which was there before")


def _without_lost(seen: Seen) -> tuple[Seen, tuple[Change, ...]]:
    """What can be done, and the credentials that cannot be made again: of their secret Kong told the hash only."""
    lost = tuple(
        change
        for _, found in seen.diffs
        for change in found.changes
        if change.action == "create"
        and change.kind in HASHED
        and is_hashed(change.kind, change.body or {})
        and not (change.body or {}).get(HASHED[change.kind])
    )
    if not lost:
        return seen, ()
    kept = [
        (nodes, replace(found, changes=tuple(change for change in found.changes if change not in lost)))
        for nodes, found in seen.diffs
    ]
    return seen._replace(diffs=kept), lost


def _with_lost(outcome: Outcome, lost: tuple[Change, ...]) -> Outcome:
    """The outcome with what stays away."""
    if not lost or outcome.code != exit_codes.OK:
        return outcome
    reason = "Kong told only the hash of its secret; kgate sync of files that have it makes it again"
    named = [(change, f"{KINDS[change.kind].singular} {change.name}") for change in lost]
    left = [
        {"action": "delete", "kind": change.kind, "id": change.id, "name": change.name, "reason": reason}
        for change, _ in named
    ]
    lines = (*outcome.lines, *(f"  left deleted: {name}: {reason}" for _, name in named))
    data = {**outcome.data, "result": "partial", "left": left, "reason": reason}
    return Outcome(exit_codes.PARTIAL, "partial", reason, lines, data)


def _to_take_back(entries: list[Entry]) -> Entry:
    """The last apply, or the first of those that got half way before it: what they left is nothing to go back to."""
    first = entries[-1]
    for entry in reversed(entries[:-1]):
        if entry.result not in ("started", "partial"):
            break
        first = entry
    return first


def _owner(entry: Entry) -> str:
    return f"tags {', '.join(entry.tags)}" if entry.tags else "no tags"


def _loaded(content: bytes | None, what: str) -> dict[str, Any]:
    if content is None:
        raise FailedError(f"{what} is not kept any more; see kgate rollback --list")
    # what others had pushed is kept as Kong exports it, which is YAML
    if content[:1] != b"{":
        return load([Text("", content)]).document
    found: dict[str, Any] = json.loads(content)
    return found


def _show(entries: list[Entry], output: str) -> None:
    from cli.report.state import printable, utc

    if output == "json":
        click.echo(json.dumps({"version": 1, "history": [entry._asdict() for entry in entries]}))
        return
    for entry in entries:
        about = f"{entry.result}{': ' + printable(entry.reason) if entry.reason else ''}"
        if entry.tags:
            about += f" ({_owner(entry)})"
        click.echo(
            f"{entry.id}  {utc(entry.time)}  {printable(entry.actor)}  {entry.revision[:12] or '-'}  "
            f"{entry.digest[:12]}  {about}"
        )
