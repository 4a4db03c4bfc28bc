"""Apply: bring DB-less nodes, one after the other, to one rendered config.

A node whose /status already tells the config's md5 is left alone: each accepted push rebuilds router,
plugins and balancer and empties caches. The first failure stops the run: nodes after it stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from decl.admin import AdminClient, AdminError, BusyError, EntityError, RejectedError
from decl.findings import Finding, Problem
from decl.render import Rendered
from decl.source import Sources

State = Literal["unchanged", "changed", "failed", "unknown", "not tried"]
"""unknown: no answer came, and the node's hash cannot be read; the config may be there or not."""


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


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for a busy node, and for the new hash after a push."""

    busy: float = 60.0
    live: float = 30.0
    poll: float = 0.1


def push(
    nodes: Sequence[Node],
    rendered: Rendered,
    sources: Sources,
    patience: Patience = Patience(),
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[NodeResult, ...]:
    """Push to the nodes in their order; a result for each. now and sleep are seconds, for tests."""
    results: list[NodeResult] = []
    content, config_hash = rendered.content, rendered.hash
    for node in nodes:
        if any(result.state in ("failed", "unknown") for result in results):
            results.append(NodeResult(node.node, "not tried", "a node before it failed"))
            continue
        try:
            state = _Push(node, content, config_hash, patience, now, sleep).run()
            results.append(NodeResult(node.node, state))
        except RejectedError as error:
            findings = tuple(locate(item, rendered, sources) for item in error.errors)
            results.append(NodeResult(node.node, "failed", error.reason, findings))
        except AdminError as error:
            results.append(NodeResult(node.node, "unknown" if error.uncertain else "failed", error.reason))
    return tuple(results)


class _Push(NamedTuple):
    node: Node
    content: bytes
    hash: str
    patience: Patience
    now: Callable[[], float]
    sleep: Callable[[float], None]

    def run(self) -> State:
        """Raises AdminError; an uncertain one only when the node's hash could not be read afterwards."""
        try:
            stored = self.node.config_hash()
        except AdminError as error:  # nothing was sent yet, so nothing is uncertain
            raise AdminError(error.node, error.reason, error.status) from error
        if stored == self.hash:
            return "unchanged"
        if not self._post():
            return "unchanged"
        self._wait_until_live()
        return "changed"

    def _post(self) -> bool:
        end = self.now() + self.patience.busy
        while True:
            try:
                return self.node.post_config(self.content)
            except BusyError as busy:
                if self.now() + busy.retry_after > end:
                    raise AdminError(
                        busy.node, f"was still loading another config after {self.patience.busy:g} s"
                    ) from busy
                self.sleep(busy.retry_after)
            except AdminError as error:
                if not error.uncertain:
                    raise
                return self._look(error)

    def _look(self, error: AdminError) -> bool:
        """No clear answer came: the node's hash says what happened."""
        try:
            stored = self.node.config_hash() == self.hash
        except AdminError:
            raise error from None
        if stored:
            return True
        raise AdminError(error.node, error.reason, error.status) from error

    def _wait_until_live(self) -> None:
        end = self.now() + self.patience.live
        reason = "its /status shows another hash"
        while True:
            try:
                if self.node.config_hash() == self.hash:
                    return
            except AdminError as error:
                reason = error.reason
            if self.now() >= end:
                reason = f"took the config, but after {self.patience.live:g} s {reason}"
                raise AdminError(self.node.node, reason, uncertain=True)
            self.sleep(self.patience.poll)


def locate(error: EntityError, rendered: Rendered, sources: Sources) -> Finding:
    """Kong's error at its place in the files, by the entity's id, else by its kind and name."""
    path = rendered.origins.get(error.entity_id or "")
    if path is None:
        path = rendered.origins.get(_id_by_name(error, rendered) or "", ())
    for step in error.field.split(".") if error.field else ():
        path = (*path, int(step) - 1 if step.isdigit() else step)
    where = f"{error.entity_type} {error.entity_name!r}: " if error.entity_name else f"{error.entity_type}: "
    field = f"{error.field}: " if error.field else ""
    return sources.locate(Problem(path, "kong", where + field + error.message))


def _id_by_name(error: EntityError, rendered: Rendered) -> str | None:
    """The first entity of that kind and name: Kong leaves out an id that it finds wrong."""
    stack: list[tuple[str, object]] = [("", rendered.document)]
    while stack:
        kind, value = stack.pop()
        if isinstance(value, dict):
            names = (value.get("name"), value.get("username"), value.get("target"))
            if kind == error.entity_type + "s" and error.entity_name in names and error.entity_name:
                return str(value.get("id"))
            stack += [(key, item) for key, item in value.items() if isinstance(item, list)]
        elif isinstance(value, list):
            stack += [(kind, item) for item in value if isinstance(item, dict)]
    return None


def push_to(
    urls: Iterable[str],
    rendered: Rendered,
    sources: Sources,
    headers: dict[str, str] | None = None,
    ca: str | None = None,
    timeout: float = 10.0,
    patience: Patience = Patience(),
) -> tuple[NodeResult, ...]:
    """Push over HTTP to the nodes with these Admin API URLs; timeout is seconds for one answer."""
    with ExitStack() as stack:
        clients = [stack.enter_context(AdminClient(url.rstrip("/"), headers, ca, timeout)) for url in urls]
        return push(clients, rendered, sources, patience)
