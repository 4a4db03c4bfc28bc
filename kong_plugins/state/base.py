"""Control state as the filters see it: one immutable snapshot, and the view given to a decision.

The stores (memory, Redis) are in their own modules behind `ControlStore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from kong_plugins.identity.trust import Trust


class Block(NamedTuple):
    """One block: `kind` is ip, cidr or user, `value` its canonical text (a user: "issuer|subject" or the
    subject alone). Times are Unix seconds; `expires` is None for a block without end."""

    kind: str
    value: str
    reason: str
    actor: str
    created: float
    expires: float | None = None


class CanaryOverride(NamedTuple):
    """What an operator set over the configured plan of one canary; None keeps the plan's value.

    percent is 0..100; paused sends everybody to the control group. version counts changes.
    """

    name: str
    percent: float | None = None
    users: frozenset[str] | None = None
    paused: bool = False
    version: int = 1
    actor: str = ""
    changed: float = 0.0


class BlockIndex(Protocol):
    """Answers which block covers an address."""

    def match(self, ip: str, now: float) -> Block | None:
        """The block of `ip` (canonical text) that has not expired at `now`, if any."""
        ...

    def match_user(self, issuer: str, subject: str, now: float) -> Block | None:
        """The block of a verified user that has not expired at `now`, if any."""
        ...

    def __len__(self) -> int: ...


class Snapshot(NamedTuple):
    """The whole control state at one version. Never changed, only replaced."""

    version: int
    blocks: BlockIndex
    canaries: Mapping[str, CanaryOverride]


class State(NamedTuple):
    """What a decision may read. `answers` holds replies to earlier asks of this request, by key."""

    snapshot: Snapshot
    trust: Trust
    answers: Mapping[str, Any] = {}


# StoreError      the store is away, or what it holds cannot be read
#   Conflict      somebody else changed the same thing first
#   StoreFull     a cap is reached; nothing was written


class StoreError(Exception):
    """The store is away or cannot be understood. The message names its address, never its password."""


class Conflict(StoreError):
    """The record is not at the version that the change was made for; nothing was written."""


class StoreFull(StoreError):
    """The store holds as many records as it may; nothing was written."""


MAX_BLOCKS = 100_000
"""Blocks of one namespace: every node holds all of them in memory."""
MAX_CANARIES = 1_000


class Changes(Protocol):
    """A subscription to changes. One thread at a time."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True when something has changed since the last call (it may be
        told more than once, and a lost connection loses it: compare versions). Raises StoreError."""
        ...

    def close(self) -> None: ...


class SnapshotSource(Protocol):
    """What a plugin server needs of a store: read everything and learn of changes."""

    def version(self) -> int:
        """The number of the last change, 0 when there was none. Every change makes it larger."""
        ...

    def load_snapshot(self) -> Snapshot:
        """The whole state at one version. Raises StoreError."""
        ...

    def subscribe(self) -> Changes:
        """Changes from now on. Raises StoreError."""
        ...


class BlockStore(Protocol):
    """What an operator does with blocks. All methods raise StoreError."""

    def add_block(self, block: Block) -> int:
        """Add a block, or replace the one of the same kind and value. Returns the new version.
        Raises StoreFull."""
        ...

    def remove_block(self, kind: str, value: str) -> bool:
        """Remove a block; False when there was no live one (the version stays)."""
        ...

    def list_blocks(self) -> list[Block]:
        """The live blocks, by kind and value."""
        ...


class CanaryStore(Protocol):
    """What an operator does with canaries. All methods raise StoreError."""

    def set_canary(self, override: CanaryOverride, if_version: int | None = None) -> CanaryOverride:
        """Set the override of one canary whole; its `version` is given by the store and returned.

        if_version: the version that the override must have now, 0 for "there is none"; Conflict
        otherwise. None sets it whatever is there. Raises StoreFull.
        """
        ...

    def get_canary(self, name: str) -> CanaryOverride | None: ...

    def list_canaries(self) -> list[CanaryOverride]:
        """All overrides, by name."""
        ...


class ControlStore(SnapshotSource, BlockStore, CanaryStore, Protocol):
    """The whole control state: `memory.py` and `redis.py` implement it, `open.py` chooses."""

    @property
    def address(self) -> str:
        """Where it is, without a password, for messages."""
        ...

    def now(self) -> float:
        """The store's clock in Unix seconds: an operator's wrong clock must not shorten a block."""
        ...

    def close(self) -> None: ...
