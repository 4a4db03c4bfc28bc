"""The run of a sync: apply to the nodes in the cluster's mode, note it in the history, and say what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import click

from cli import exit_codes
from cli.target import Target, holder, revision, unix_time
from decl import gate as gates
from decl import probe
from decl.admin import AdminClient, AdminError
from decl.apply import Node, NodeResult, Strategy, push
from decl.apply_db import Applied, apply
from decl.blobs import BlobError
from decl.change import Diff
from decl.compare import Seen, data_planes, planes_follow
from decl.guard_first import GuardFirst
from decl.history import Entry, History, Result
from decl.kinds import KINDS
from decl.lock import Lease
from decl.masking import masked, secrets_in
from decl.retry import Sender

PLANES_WAIT = 60.0
"""Seconds for data planes to take the config of their control plane."""


class Outcome(NamedTuple):
    """What came of a run. lines are for people, data for --output json."""

    code: int
    result: Result
    reason: str
    lines: tuple[str, ...]
    data: dict[str, Any]


def run(
    target: Target,
    seen: Seen,
    lease: Lease,
    strategy: Strategy,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    notice: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Apply and note it. progress: called with how many of how many nodes, with a database changes, are done.
    notice: gets a line before a busy node is waited for."""
    if seen.settled:
        outcome = _nothing(target, seen)
        told = "unchanged" if outcome.code == exit_codes.OK else outcome.result
        return outcome._replace(data={"history": None, "fence": lease.fence, "result": told, **outcome.data})
    rendered = target.rendered
    history = target.history()
    entry = Entry(
        "", target.name, unix_time(), holder(), revision(), rendered.hash, "started", target.mode,
        dict(seen.base), fence=lease.fence, tags=target.tags,
    )  # fmt: skip
    entry = _noted(lambda: history.begin(entry, rendered.content, seen.live)) or entry
    if target.mode == "dbless":
        outcome = _dbless(target, lease, strategy, history, progress, notice)
    else:
        outcome = _db(target, seen, lease, workers, progress, notice)
    # Kong quotes values in its errors
    outcome = Outcome(outcome.code, outcome.result, *masked(outcome[2:], secrets_in(target.wanted())))
    _noted(lambda: history.finish(entry, outcome.result, outcome.reason))
    data = {"history": entry.id or None, "fence": lease.fence, "result": outcome.result, **outcome.data}
    return outcome._replace(data=data)


def _noted(write: Callable[[], Entry]) -> Entry | None:
    """History is a help, and no reason not to change a gateway."""
    try:
        return write()
    except BlobError as error:
        click.echo(f"kgate: not noted in the history: {error}", err=True)
        return None


def _nothing(target: Target, seen: Seen) -> Outcome:
    if target.mode == "dbless":
        results = tuple(NodeResult(node.url, "unchanged") for node in target.nodes)
        return _of_nodes(target, results)
    outcome = Outcome(exit_codes.OK, "changed", "", ("no changes",), {"done": 0, "left": [], "reason": ""})
    if target.mode == "hybrid":  # a run before may have ended while one of them had not followed
        assert seen.client is not None
        try:
            data_planes(seen.client)
        except AdminError as error:
            return _no_control_plane(seen.client, error)
        return _followed(outcome, seen.client, {}, False)
    return outcome


# -- DB-less -------------------------------------------------------------------------------------------------


def _dbless(
    target: Target,
    lease: Lease,
    strategy: Strategy,
    history: History,
    progress: Callable[[int, int], None],
    notice: Callable[[str], None],
) -> Outcome:
    gate = gates.gate_of(target.settings.gate)
    urls = [node.url for node in target.nodes]

    own = target.own_proxies()

    def healthy(nodes: Sequence[str]) -> str | None:
        proxies = target.proxies()
        if len(proxies) == len(urls):  # one proxy for each node, in the same order
            proxies = [proxies[urls.index(node)] for node in nodes]
        return gates.trouble(gate, proxies)

    def last_good(node: Node, held: str) -> bytes | None:
        try:
            kept = history.content(held)
        except BlobError:
            kept = None
        if kept is not None:
            return kept
        assert isinstance(node, AdminClient)
        try:
            exported = node.exported()
        except AdminError:
            return None
        with contextlib.suppress(BlobError):
            history.keep(held, exported)  # for a rollback to what others had pushed
        return exported

    results = push(
        target.clients(),
        target.rendered,
        target.sources,
        strategy=strategy,
        gate=healthy,
        last_good=last_good,
        guard=GuardFirst(target.rendered.document, own.get),
        check=lease.check,
        progress=progress,
        notice=notice,
    )
    return _of_nodes(target, results)


def _of_nodes(target: Target, results: Sequence[NodeResult]) -> Outcome:
    from cli.report import human

    states = {result.state for result in results}
    result: Result = "changed"
    if states <= {"changed", "unchanged"}:
        code = exit_codes.OK
    elif states & {"changed", "unknown"}:
        code, result = exit_codes.PARTIAL, "partial"
    elif "returned" in states:
        code, result = exit_codes.ROLLED_BACK, "rolled back"
    else:
        code, result = exit_codes.FAILED, "failed"
    reason = next((item.reason for item in results if item.reason), "")
    data = {
        "nodes": [
            {**item._asdict(), "findings": [finding._asdict() for finding in item.findings]}
            for item in results
        ]
    }
    return Outcome(code, result, reason, tuple(human.nodes(results)), data)


# -- with a database -----------------------------------------------------------------------------------------


def _db(
    target: Target,
    seen: Seen,
    lease: Lease,
    workers: int,
    progress: Callable[[int, int], None],
    notice: Callable[[str], None],
) -> Outcome:
    found = seen.diffs[0][1] if seen.diffs else Diff()
    client, schemas = seen.client, seen.schemas
    assert client is not None
    assert schemas is not None
    planes: dict[str, str] = {}
    if target.mode == "hybrid":
        try:
            planes = data_planes(client)
        except AdminError as error:
            return _no_control_plane(client, error)
    applied = apply(
        found.changes,
        Sender(client, notice=notice, check=lease.check),
        schemas,
        workers=workers,
        adapter_is_live=lambda: adapter_is_live(target, client, lease),
        check=lease.check,
        progress=progress,
    )
    outcome = _of_database(target, client.node, applied)
    if target.mode == "hybrid" and outcome.code == exit_codes.OK:
        return _followed(outcome, client, planes, bool(found.changes))
    return outcome


def _no_control_plane(client: AdminClient, error: AdminError) -> Outcome:
    lines = (f"{client.node}: is no control plane: {error.reason}",)
    return Outcome(
        exit_codes.FAILED, "failed", error.reason, lines, {"done": 0, "left": [], "reason": error.reason}
    )


def _followed(outcome: Outcome, client: AdminClient, before: dict[str, str], changed: bool) -> Outcome:
    """The outcome when the data planes have followed, or could have; with changes they have another hash than
    before."""
    planes: dict[str, str] | None = None
    settle = _propagation(client) if changed else 0.0
    try:
        late = planes_follow(client, before, changed, PLANES_WAIT, time.monotonic, time.sleep, settle)
        if late is None:
            return outcome
        planes = data_planes(client)
    except AdminError as error:
        late = f"cannot tell whether the data planes follow: {error.reason}"
    data = {**outcome.data, "reason": late} | ({} if planes is None else {"data_planes": planes})
    return Outcome(exit_codes.PARTIAL, "partial", late, (*outcome.lines, late), data)


def adapter_is_live(target: Target, client: AdminClient, lease: Lease) -> None:
    """Return when the adapter answers for every proxy, or after the time that Kong surely needs. Raises
    StoppedError."""
    expected = probe.expected_hash(target.wanted())
    if expected is None:
        return
    proxies = target.proxies()
    if proxies:
        probe.wait_live(proxies, expected, now=time.monotonic, sleep=time.sleep)
        return
    end = time.monotonic() + _propagation(client)
    while (left := end - time.monotonic()) > 0:
        lease.check()
        time.sleep(min(left, 1.0))


def _propagation(client: AdminClient) -> float:
    """Seconds until a write is surely in force."""
    try:
        node = client.get("/")
    except AdminError:  # Kong 3.9 answers 500 there while an external plugin server runs
        node = {}
    return probe.propagation_time(node)


def _of_database(target: Target, node: str, applied: Applied) -> Outcome:
    lines: list[str] = []
    codes: dict[str, tuple[int, Result]] = {
        "changed": (exit_codes.OK, "changed"),
        "unchanged": (exit_codes.FAILED if applied.reason else exit_codes.OK, "failed"),
        "rolled back": (exit_codes.ROLLED_BACK, "rolled back"),
        "partial": (exit_codes.PARTIAL, "partial"),
    }
    code, result = codes[applied.outcome]
    told = {"changed": f"{applied.done} changes made", "unchanged": "nothing was changed"}.get(
        applied.outcome, applied.outcome
    )
    lines.append(f"{node}: {told}{': ' + applied.reason if applied.reason else ''}")
    if applied.failed is not None:
        path = target.rendered.origins.get(applied.failed.id)
        where = f" ({target.sources.place(path)})" if path else ""
        lines.append(f"  failed: {_what(applied.failed.kind, applied.failed.name)}{where}")
    left = []
    for item in applied.left:
        what = _what(item.change.kind, item.change.name)
        lines.append(f"  left {item.change.action}d: {what}: {item.reason}")
        left.append(
            {
                "action": item.change.action,
                "kind": item.change.kind,
                "id": item.change.id,
                "name": item.change.name,
                "reason": item.reason,
            }
        )
    data = {"done": applied.done, "left": left, "reason": applied.reason}
    return Outcome(code, result, applied.reason, tuple(lines), data)


def _what(kind: str, name: str) -> str:
    return f"{KINDS[kind].singular} {name}"
