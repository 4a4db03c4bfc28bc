"""Conclusions become control state: in the store where there is one, and at once in this node's workers while it is
away, has no room, or there is none.

A thread of its own writes: an analyst never waits for Redis. What could not be written is tried again, for as long
as it would hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from kong_plugins.engine.analyst import Conclusion
from kong_plugins.state.base import Conflict, Store, StoreError, StoreFull
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.overlay import pack_changes
from kong_plugins.state.records import Change, Delete, Event, Put, Record

log = logging.getLogger("kgate.analysis")

MAX_WAITING = 10_000
AGAIN_SECONDS = 1.0
EVENT_SECONDS = 600.0
"""An event that could not be written for so long is only in the log."""
FULL_SECONDS = 60.0
"""A full collection is told of once in so many."""
MERGED = frozenset({"canaries"})
"""Collections of which a conclusion sets some fields, and leaves the others as the operator set them."""
_TRIES = 3


class Waiting(NamedTuple):
    """A conclusion on its way. since: Unix seconds when it was drawn."""

    conclusion: Conclusion
    since: float
    local: bool = False
    """Whether the workers have it already."""


class Concluder:
    """store: None where there is none. node: this node's name in events. tell_local: gets packed changes for the
    workers of this node, from this thread; clock: Unix seconds; written: gets (collection, key) of what they were
    told, when the store has it or has another word."""

    def __init__(
        self,
        store: Store | None,
        node: str,
        tell_local: Callable[[bytes], None],
        clock: Callable[[], float] = time.time,
        written: Callable[[str, str], None] = lambda _collection, _key: None,
    ) -> None:
        self._written = written
        self._store, self._node, self._tell_local, self._clock = store, node, tell_local, clock
        self._waiting: deque[Waiting] = deque()
        self._wake = threading.Event()
        self._stop = False
        self._away = False
        self._full_at = -FULL_SECONDS
        self.lost = 0
        """Conclusions that were never written."""
        self.counts: dict[str, float] = {}
        """Conclusions by kind."""
        self._thread = threading.Thread(target=self._run, name="kgate-conclude", daemon=True)

    def start(self) -> None:
        """Write in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after what is being written."""
        self._stop = True
        self._wake.set()
        self._thread.join()

    def add(self, conclusion: Conclusion) -> None:
        """Write it, soon. From any thread."""
        log.info(
            "%s %s: %s %s", conclusion.kind, conclusion.subject, conclusion.reason, dict(conclusion.numbers)
        )
        self.counts[conclusion.kind] = self.counts.get(conclusion.kind, 0) + 1
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(Waiting(conclusion, self._clock()))
        self._wake.set()

    def work(self) -> bool:
        """Write what waits, in order. False when the store is away and something is left."""
        while self._waiting and not self._stop:
            waiting = self._waiting.popleft()
            try:
                is_written = self._write(waiting)
                self._away = False
                if is_written and waiting.local:
                    self._written(waiting.conclusion.collection, waiting.conclusion.key)
            except StoreError as error:
                if not self._away:
                    log.warning("conclusions wait for the control state: %s", error)
                self._away = True
                self._keep(waiting)
                return False
        return True

    def _run(self) -> None:
        while not self._stop:
            done = self.work()
            self._wake.wait(AGAIN_SECONDS if not done else 60.0)
            if done:
                self._wake.clear()
            elif not self._stop:
                time.sleep(AGAIN_SECONDS)

    def _keep(self, waiting: Waiting) -> None:
        """The store is away: the workers are told without it, all that wait, and all are tried again."""
        kept = deque([waiting, *self._waiting])
        self._waiting.clear()
        now = self._clock()
        for each in kept:
            found = each.conclusion
            if found.collection and not each.local:
                self._locally(found, each.since)
            ttl = found.ttl if found.collection else EVENT_SECONDS
            if ttl is None or now - each.since < ttl:
                self._waiting.append(each._replace(local=True))
            else:
                self.lost += 1

    def _locally(self, found: Conclusion, since: float) -> None:
        expires = None if found.ttl is None else since + found.ttl
        change = self._change(found, expires, None)
        if change is not None:
            self._tell_local(pack_changes([change]))

    def _change(self, found: Conclusion, expires: float | None, current: Record | None) -> Change | None:
        """The change to make; None where an operator's word stands, a block lasts longer, or nothing is to do."""
        if found.collection not in COLLECTIONS:
            log.error("%s %s: collection %r is not known", found.kind, found.subject, found.collection)
            return None
        version = None if current is None else current.version
        source = f"gateway:{self._node}"
        if found.data is None:
            mine = current is None or current.source.startswith("gateway:")
            return Delete(found.collection, found.key, version) if mine else None
        data = dict(found.data)
        if found.collection in MERGED:
            data = {**(current.data if current is not None else {}), **data}
        elif current is not None and not current.source.startswith("gateway:"):
            return None
        elif found.collection == "blocks" and current is not None and _lasts(current, expires):
            return None  # what another scenario or node has found
        now = self._clock()
        return Put(
            Record(
                found.collection,
                found.key,
                data,
                actor=f"gateway:{self._node}"[:200],
                reason=_note(found.reason),
                source=source,
                created=now,
                changed=now,
                expires=expires,
            ),
            version,
        )

    def _write(self, waiting: Waiting) -> bool:
        """Whether the store now holds what is to hold of a record."""
        found, store = waiting.conclusion, self._store
        if store is None:
            if found.collection:
                self._locally(found, waiting.since)
            return False
        actor = f"gateway:{self._node}"[:200]
        event = Event("", 0.0, found.kind, actor, found.subject, _note(found.reason), dict(found.numbers))
        try:
            for left in reversed(range(_TRIES)):
                change = None
                if found.collection in COLLECTIONS:
                    current = store.get(found.collection, found.key)
                    passed = self._clock() - waiting.since
                    expires = None if found.ttl is None else store.now() + max(1.0, found.ttl - passed)
                    change = self._change(found, expires, current)
                    if isinstance(change, Put) and change.if_version is None:
                        change = change._replace(if_version=0)
                if change is None:
                    store.append(event)
                    return bool(found.collection)
                try:
                    store.apply([change], event)
                    return True
                except Conflict:
                    if not left:
                        raise
        except StoreFull as error:
            # what comes after it must not wait for room that nobody makes
            store.append(event)
            self.lost += 1
            if not waiting.local:
                self._locally(found, waiting.since)
            if self._clock() - self._full_at >= FULL_SECONDS:
                self._full_at = self._clock()
                log.error("%s %s holds on this node alone: %s", found.kind, found.subject, error)
        except ValueError as error:
            self.lost += 1
            log.error("%s %s cannot be written: %s", found.kind, found.subject, error)
        except Conflict as error:
            self.lost += 1
            log.error("%s %s: somebody else changes it all the time: %s", found.kind, found.subject, error)
        return False


def _lasts(record: Record, until: float | None) -> bool:
    return record.expires is None or (until is not None and record.expires >= until)


def _note(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:200]
