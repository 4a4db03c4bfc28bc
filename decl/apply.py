"""Apply: bring DB-less nodes, wave after wave, to one rendered config.

A node whose /status already tells the config's md5 is left alone: each accepted push rebuilds router,
plugins and balancer and empties caches. The first failure stops the run: nodes after it stay as they are, and
those before it get their last good bytes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Literal, NamedTuple, Protocol

from decl.admin import AdminClient, AdminError, BusyError, RejectedError
from decl.apply_db import StoppedError, stopped
from decl.busy import BUDGET, Waiting
from decl.findings import Finding
from decl.guard_first import GuardFirst
from decl.kong_errors import locate
from decl.render import EMPTY_HASH, Rendered
from decl.source import Sources

State = Literal["unchanged", "changed", "failed", "unknown", "not tried", "returned"]
"""unknown: no answer came, and the node's hash cannot be read; the config may be there or not. returned: it had
the new config and has its old one back."""

Strategy = Literal["canary", "rolling", "all-at-once"]

EMPTY_CONFIG = b'{"_format_version":"3.0"}'
"""A node without a config is made empty again by it."""


class NodeResult(NamedTuple):
    """What happened to one node. `findings` are Kong's own errors at their places in the files."""

    node: str
    state: State
    reason: str = ""
    findings: tuple[Finding, ...] = ()


class Node(Protocol):
    """What apply needs of a node."""

    node: str

    def config_hash(self) -> str: ...

    def post_config(self, content: bytes) -> bool: ...

    def exported(self) -> bytes: ...

    def pages(self, path: str, tags: Sequence[str] = ()) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a busy node, and for the new hash after a push. tries: of one push that a
    node did not take, with a pause before the second and twice that before the third."""

    busy: float = BUDGET
    tries: int = 3
    pause: float = 0.2
    live: float = 30.0
    poll: float = 0.1


def waves(nodes: Sequence[Node], strategy: Strategy) -> list[Sequence[Node]]:
    """canary: one node, then all others; rolling: one after the other."""
    if strategy == "all-at-once":
        return [nodes]
    if strategy == "canary":
        return [part for part in (nodes[:1], nodes[1:]) if part]
    return [[node] for node in nodes]


def push(
    nodes: Sequence[Node],
    rendered: Rendered,
    sources: Sources,
    patience: Patience = Patience(),
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    strategy: Strategy = "rolling",
    gate: Callable[[Sequence[str]], str | None] = lambda _: None,
    last_good: Callable[[Node, str], bytes | None] | None = None,
    guard: GuardFirst | None = None,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    notice: Callable[[str], None] = lambda line: None,
) -> tuple[NodeResult, ...]:
    """Push to the nodes; a result for each, in their order. now and sleep are seconds, for tests.

    gate: asked after each wave with its nodes, what is wrong with them. last_good: the bytes that give a node
    with this hash its config again; without it nothing is taken back. guard: of the config, for nodes without the
    adapter; without it they get the config at once. check: asked before each wave, raises
    StoppedError when nothing may be written any more. progress: called with how many of how many nodes are done.
    notice: gets a line before a busy node is waited for.
    """
    run = _Run(rendered, sources, patience, now, sleep, last_good, guard, notice, check)
    stopped = ""
    for wave in waves(nodes, strategy):
        if not stopped:
            try:
                check()
            except StoppedError as error:
                stopped = str(error)
        if stopped:
            run.results.update({node.node: NodeResult(node.node, "not tried", stopped) for node in wave})
            continue
        with ThreadPoolExecutor(len(wave)) as threads:
            for result in threads.map(run.one, wave):
                run.results[result.node] = result
                progress(len(run.results), len(nodes))
        if any(run.results[node.node].state in ("failed", "unknown") for node in wave):
            stopped = "a node before it failed"
        elif any(run.results[node.node].state == "changed" for node in wave):
            reason = gate([node.node for node in wave])
            if reason is not None:
                stopped = reason
    if stopped and last_good is not None:
        with ThreadPoolExecutor(len(nodes) or 1) as threads:
            for result in threads.map(lambda node: run.returned(node, stopped), nodes):
                run.results[result.node] = result
    return tuple(run.results[node.node] for node in nodes)


class _Run:
    """The nodes' results so far, and what each node held before."""

    def __init__(
        self,
        rendered: Rendered,
        sources: Sources,
        patience: Patience,
        now: Callable[[], float],
        sleep: Callable[[float], None],
        last_good: Callable[[Node, str], bytes | None] | None,
        guard: GuardFirst | None,
        notice: Callable[[str], None],
        check: Callable[[], None],
    ) -> None:
        self._rendered, self._sources = rendered, sources
        self._patience, self._now, self._sleep = patience, now, sleep
        self._notice, self._check = notice, check
        self._content, self._hash = rendered.content, rendered.hash
        self._last_good = last_good
        self._guard = guard if guard is not None and guard.needed() else None
        self._before: dict[str, bytes | None] = {}
        self._guarded: set[str] = set()
        self.results: dict[str, NodeResult] = {}

    def one(self, node: Node) -> NodeResult:
        """Push to one node."""
        try:
            held = node.config_hash()
            if held == self._hash:
                return NodeResult(node.node, "unchanged")
            first = self._guard.config(node, held) if self._guard is not None else None
        except AdminError as error:  # nothing was sent yet, so nothing is uncertain
            return NodeResult(node.node, "failed", error.reason)
        try:
            if self._last_good is not None:
                self._before[node.node] = EMPTY_CONFIG if held == EMPTY_HASH else self._last_good(node, held)
            if first is not None:
                self._guard_first(node, first)
            return NodeResult(node.node, self._push(node, self._content, self._hash).run())
        except RejectedError as error:
            findings = tuple(locate(item, self._rendered, self._sources) for item in error.errors)
            return NodeResult(node.node, "failed", error.reason, findings)
        except AdminError as error:
            return NodeResult(node.node, "unknown" if error.uncertain else "failed", error.reason)

    def _guard_first(self, node: Node, config: bytes) -> None:
        assert self._guard is not None
        try:
            self._push(node, config, _md5(config)).run()
        except AdminError as error:
            if error.uncertain:
                self._guarded.add(node.node)
            raise
        self._guarded.add(node.node)
        self._guard.wait(node.node)
        lost = stopped(self._check)  # the lock may be another's by now
        if lost is not None:
            raise AdminError(node.node, lost)

    def returned(self, node: Node, why: str) -> NodeResult:
        """Give a node that has (or may have) the new config, or the adapter that came before it, its old one back."""
        result = self.results[node.node]
        if result.state not in ("changed", "unknown") and node.node not in self._guarded:
            return result
        if result.state == "failed":  # it has the adapter, and failed by its own cause
            why = result.reason or why
        left: State = "unknown" if result.state == "failed" else result.state
        content = self._before.get(node.node)
        if content is None:
            reason = f"{why}; its old config is not known and was not brought back"
            return result._replace(state=left, reason=reason)
        try:
            also = EMPTY_HASH if content == EMPTY_CONFIG else ""
            self._push(node, content, _md5(content), also).run()
        except AdminError as error:
            reason = f"{why}; its old config could not be brought back: {error.reason}"
            return result._replace(state=left, reason=reason)
        if result.state == "failed":  # it had but the adapter, and is as it was
            return result
        return result._replace(state="returned", reason=result.reason or why)

    def _push(self, node: Node, content: bytes, config_hash: str, also: str = "") -> _Push:
        waiting = Waiting(
            self._patience.busy, self._now, self._sleep, self._notice, lost=lambda: stopped(self._check)
        )
        return _Push(node, content, config_hash, self._patience, self._now, self._sleep, waiting, also)


def _md5(content: bytes) -> str:
    return md5(content, usedforsecurity=False).hexdigest()


class _Push(NamedTuple):
    node: Node
    content: bytes
    hash: str
    patience: Patience
    now: Callable[[], float]
    sleep: Callable[[float], None]
    waiting: Waiting
    also: str = ""
    """Another hash that means the same: Kong tells zeros for a config without entities."""

    def run(self) -> State:
        """Raises AdminError; an uncertain one only when the node's hash could not be read afterwards."""
        if not self._post():
            return "unchanged"
        self._wait_until_live()
        return "changed"

    def _post(self) -> bool:
        tries, pause = 1, self.patience.pause
        while True:
            try:
                return self.node.post_config(self.content)
            except BusyError as busy:
                late = self.waiting.wait(busy.node, busy.retry_after)
                if late is not None:
                    raise AdminError(busy.node, late, 429) from busy
            except AdminError as error:
                if not error.uncertain and not error.away:
                    raise
                if error.uncertain and self._is_stored(error):
                    return True
                late = None
                if error.retry_after is not None and tries < self.patience.tries:
                    late = self.waiting.wait(error.node, error.retry_after)
                elif tries < self.patience.tries:
                    self.sleep(pause)
                if tries >= self.patience.tries or late is not None:
                    reason = f"{error.reason}; it {late}" if late else error.reason
                    raise AdminError(error.node, reason, error.status) from error
                tries, pause = tries + 1, pause * 2

    def _is_stored(self, error: AdminError) -> bool:
        """No clear answer came: the node's hash says what happened. Raises the error when it cannot be read."""
        try:
            return self.node.config_hash() in (self.hash, self.also)
        except AdminError:
            raise error from None

    def _wait_until_live(self) -> None:
        end = self.now() + self.patience.live
        reason = "its /status shows another hash"
        while True:
            try:
                if self.node.config_hash() in (self.hash, self.also):
                    return
            except AdminError as error:
                reason = error.reason
            if self.now() >= end:
                reason = f"took the config, but after {self.patience.live:g} s {reason}"
                raise AdminError(self.node.node, reason, uncertain=True)
            self.sleep(self.patience.poll)


def push_to(
    urls: Iterable[str],
    rendered: Rendered,
    sources: Sources,
    headers: dict[str, str] | None = None,
    ca: str | None = None,
    timeout: float = 10.0,
    patience: Patience = Patience(),
) -> tuple[NodeResult, ...]:
    """Push over HTTP to the nodes with these Admin API URLs, one after the other, and take nothing back; timeout
    is seconds for one answer."""
    with ExitStack() as stack:
        clients = [stack.enter_context(AdminClient(url.rstrip("/"), headers, ca, timeout)) for url in urls]
        return push(clients, rendered, sources, patience)
