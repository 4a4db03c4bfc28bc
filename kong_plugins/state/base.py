"""Control state: what the filters see of it (one immutable snapshot), and the capabilities of a store.

The stores (memory, Redis) are in their own modules behind `Store`; `open.py` chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kong_plugins.state.cells import Cells
from kong_plugins.state.fallbacks import Forced
from kong_plugins.state.limits import Limited
from kong_plugins.state.marks import MarkView
from kong_plugins.state.records import Change, Event, Record, Rows, StateDump

if TYPE_CHECKING:  # with it come all that reads tokens, and an operator's command would wait for it
    from kong_plugins.identity.trust import Trust


class Block(NamedTuple):
    """One block: `kind` is ip, cidr, user, token or agent, `value` its canonical text (a user:
    "issuer|subject" or the subject alone, a token likewise with its id, an agent: a part of a User-Agent in
    lower case). Times are Unix seconds; `expires` is None for a block without end.

    source is "import:NAME" for a row of an imported set; version is the record's (0 for a row).
    """

    kind: str
    value: str
    reason: str
    actor: str
    created: float
    expires: float | None = None
    source: str = ""
    version: int = 0


class CanaryOverride(NamedTuple):
    """What an operator set over the configured plan of one canary; None keeps the plan's value.

    percent is 0..100; paused sends everybody to the control group, as aborted does for good. users_list names
    a list of the control state in place of `users`. ramp is that of `ramps.py`.
    version counts changes.
    """

    name: str
    percent: float | None = None
    users: frozenset[str] | None = None
    paused: bool = False
    version: int = 1
    actor: str = ""
    changed: float = 0.0
    users_list: str | None = None
    aborted: bool = False
    ramp: Mapping[str, Any] | None = None
    reason: str = ""
    expires: float | None = None


class BlockIndex(Protocol):
    """Answers which live block (or allow) covers what a request shows."""

    def holds(self, ip: str, now: float) -> bool:
        """Whether there is one for `match` to tell: for requests, where which one it is does not matter."""
        ...

    def match(self, ip: str, now: float) -> Block | None:
        """The most specific one of `ip` (any spelling) that has not expired at `now` (Unix seconds)."""
        ...

    def has_kind(self, kind: str) -> bool:
        """Whether there is one of kind "user" or "token" at all, ended or not: hardly ever, and who asks by several
        names need not make them."""
        ...

    def match_user(self, issuer: str, subject: str, now: float) -> Block | None:
        """The one of a verified user, by "issuer|subject" or by the subject alone."""
        ...

    def match_token(self, issuer: str, token_id: str, now: float) -> Block | None:
        """The one of a verified token, by "issuer|id" or by the id alone."""
        ...

    def match_agent(self, user_agent: str, now: float) -> Block | None:
        """One that is part of the User-Agent, in any case."""
        ...

    def __len__(self) -> int: ...


class FallbackIndex(Protocol):
    """Answers whether an operator forces the fallback."""

    def forced(
        self, tenant: str | None, service: str | None, route: str | None, now: float
    ) -> Forced | None: ...


class BreakerIndex(Protocol):
    """Answers whether an operator holds a breaker: "open", "closed" or None."""

    def forced(
        self, service: str | None, route: str | None, now: float, tenant: str | None = None
    ) -> str | None: ...


class RevocationIndex(Protocol):
    """Answers whether a verified token was revoked: "", "token_revoked", "subject_revoked", "issued_before"."""

    def reason(
        self, issuer: str, subject: str | None, token_id: str | None, issued_at: float | None, now: float
    ) -> str: ...


class ListIndex(Protocol):
    """A named list of users or addresses."""

    def has_user(self, issuer: str, subject: str, now: float = 0.0) -> bool: ...

    def has_address(self, ip: str, now: float = 0.0) -> bool: ...


class Snapshot(Protocol):
    """The whole control state at one version. Never changed, only replaced."""

    @property
    def version(self) -> int: ...

    @property
    def built(self) -> float:
        """When its image was made, Unix seconds."""
        ...

    @property
    def blocks(self) -> BlockIndex: ...

    @property
    def allows(self) -> BlockIndex: ...

    @property
    def canaries(self) -> Mapping[str, CanaryOverride]: ...

    @property
    def fallbacks(self) -> FallbackIndex: ...

    @property
    def breakers(self) -> BreakerIndex: ...

    @property
    def revocations(self) -> RevocationIndex: ...

    @property
    def lists(self) -> Mapping[str, ListIndex]: ...

    @property
    def marks(self) -> MarkView: ...

    def records(self, collection: str) -> Mapping[str, Any]:
        """A small collection by key (see `record_views.py`)."""
        ...


class State(NamedTuple):
    """What a decision may read. `answers` holds replies to earlier asks of this request, by key; `cells` are the
    counters and limits that all workers of the node share, None where there is one process alone."""

    snapshot: Snapshot
    trust: Trust
    answers: Mapping[str, Any] = {}
    cells: Cells | None = None


# StoreError      the store is away, or what it holds cannot be read
#   Conflict      somebody else changed the same thing first
#   StoreFull     a cap is reached; nothing was written
#   RowsGone      the rows were replaced or removed meanwhile: read their record again


class StoreError(Exception):
    """The store is away or cannot be understood. The message names its address, never its password."""


class Conflict(StoreError):
    """A record is not at the version that the change was made for; nothing was written.

    current is the record as it is now, None when there is none.
    """

    def __init__(self, message: str, current: Record | None = None) -> None:
        super().__init__(message)
        self.current = current


class StoreAway(StoreError):
    """It does not answer; it may come back."""


class StoreFull(StoreError):
    """The store holds as many records as it may; nothing was written."""


class RowsGone(StoreError):
    """The rows of a bulk id are not there any more: their record was changed, removed, or has ended."""


class Changes(Protocol):
    """A subscription to changes. One thread at a time."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True when something has changed since the last call (it may be
        told more than once, and a lost connection loses it: compare versions). Raises StoreError."""
        ...

    def close(self) -> None: ...


class Committed(NamedTuple):
    """version: of the state after the changes. time: the store's, Unix seconds. versions: of the record of each
    change after it, 0 for a delete."""

    version: int
    time: float
    versions: tuple[int, ...] = ()


class Reader(Protocol):
    """What a follower needs. All methods raise StoreError."""

    def version(self) -> int:
        """The number of the last change, 0 when there was none. Every change makes it larger."""
        ...

    def load(self) -> StateDump:
        """The whole state at one version, while others write."""
        ...

    def changes_since(self, version: int) -> list[tuple[int, list[Change]]] | None:
        """The changes after `version`, by version, each `Put` with the record as it was stored. None when
        they are not all known any more, or the store went back: `load` everything then.

        Records that ended are not told: whoever holds one looks at its `expires`.
        """
        ...

    def rows(self, bulk: str) -> Rows:
        """The rows of a bulk id, of a change just heard of. Raises RowsGone."""
        ...

    def subscribe(self) -> Changes:
        """Changes from now on."""
        ...


class Writer(Protocol):
    """What an operation needs. All methods raise StoreError."""

    def get(self, collection: str, key: str) -> Record | None:
        """One live record."""
        ...

    def find(self, collection: str, keys: Sequence[str]) -> list[Record]:
        """Those of the keys that have a live record, in the order of `keys`."""
        ...

    def find_rows(self, bulk: str, keys: Sequence[str]) -> Rows:
        """Those of the keys that are rows of a bulk id. Raises RowsGone."""
        ...

    def records(self, collection: str) -> list[Record]:
        """The live records of a collection, by key."""
        ...

    def apply(self, changes: Sequence[Change], event: Event | None = None) -> int:
        """Make all changes in one step, or none, and write the event with them. Returns the version after it.

        A key may stand in it once. When nothing changes (only deletes of what is not there), version and
        audit log stay as they are. Raises Conflict, StoreFull, and ValueError for what can never be stored.
        """
        ...

    def commit(self, changes: Sequence[Change], event: Event | None = None) -> Committed:
        """`apply`, which also tells the store's time: the `changed` of the records."""
        ...

    def stage(self, rows: Iterable[tuple[str, str]], ttl: float = 600.0) -> str:
        """Bring rows (key, "" or JSON) to the store, and return their bulk id. Nobody sees them until a `Put`
        to `sources` or `lists` has the id as `data["bulk"]`; without one they go after `ttl` seconds.

        The same step drops the rows that the record had before. Raises StoreFull.
        """
        ...

    def rows(self, bulk: str) -> Rows:
        """The rows of a bulk id. Raises RowsGone."""
        ...


class EventLog(Protocol):
    """The audit log: capped, the oldest go first. All methods raise StoreError."""

    def events(self, count: int, after_id: str | None = None) -> list[Event]:
        """Without `after_id` the newest `count`, else the first `count` after it; the oldest first."""
        ...

    def append(self, event: Event) -> str:
        """Write an event without a change. Returns its id."""
        ...

    def wait(self, after_id: str | None, timeout: float) -> list[Event]:
        """Events after `after_id` (None: from now on), waiting up to `timeout` seconds for the first."""
        ...


class LimitBoard(Protocol):
    """What nodes tell of their rate limits. All methods raise StoreError."""

    def limited(self) -> list[Limited]:
        """The keys whose limits refused requests in the last minute, the most often refused first."""
        ...

    def forget_limit(self, key: str) -> None:
        """Drop what the store itself counted for the limit's key ("*" for all): strict limits."""
        ...


class Store(Reader, Writer, EventLog, LimitBoard, Protocol):
    """The whole control state."""

    @property
    def address(self) -> str:
        """Where it is, without a password, for messages."""
        ...

    def now(self) -> float:
        """The store's clock in Unix seconds: an operator's wrong clock must not shorten a block."""
        ...

    def close(self) -> None: ...
