"""The exchange of what was used between the nodes, by two threads of the keeper.

Every 50 ms a node adds what its cells used to a stream in Redis, and reads what the others added as it comes. So
the nodes agree within 100 ms, and what all of them together admit is at most

    burst + rate x time + (nodes - 1) x (burst + rate x delay)         delay: at most 0.1 s

A stream and not a channel, because a node that was cut off reads what it missed. It is capped and has a TTL. The
place that was read to, and the number of the last message, are in the shared memory: a keeper that is started
again counts nothing twice.

Redis away: the node goes on alone. What it uses stays in the cells, and what is then still not paid back goes out
in the first messages after. A message whose fate is not known is sent once more under its old number, which the
others count once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import redis

from kong_plugins.state.cell_memory import PLACE_WORD, SEQUENCE_WORD
from kong_plugins.state.cell_table import LIMIT
from kong_plugins.state.cells import Cells
from kong_plugins.state.connection import key_prefix
from kong_plugins.state.exchange_wire import MOST_ENTRIES, Inbox, Message, encode
from kong_plugins.state.limit_board import Board
from kong_plugins.state.sharing import Entry, collect, spend

INTERVAL_SECONDS = 0.05
STREAM_MESSAGES = 1000
"""Kept in Redis: 5 s of 10 busy nodes, at most 64 MB."""
STREAM_SECONDS = 60
OLDEST_NS = 600 * 10**9
FORGET_NS = 250_000_000
"""A reset has reached every node by then."""
MOST_FORGOTTEN = 1000
BLOCK_MILLISECONDS = 200
"""Redis looks for waits that have ended ten times a second: too seldom to send and receive by turns."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0

_FIELD = b"m"


def stream_key(namespace: str) -> str:
    """The stream of a namespace; its hash tag keeps it in one slot of a cluster with the rest."""
    return f"{key_prefix(namespace)}cells"


class Exchange:
    """Exchanges the cells of this node with the others of a namespace.

    connect: makes a redis.Redis that answers bytes (decode_responses=False) and has timeouts of 0.5 s or more; it
    does not connect yet, and is called again after every failure. One exchange per node runs at a time.
    """

    def __init__(self, cells: Cells, connect: Callable[[], Any], namespace: str = "default") -> None:
        self._cells = cells
        self._connect = connect
        self._key, self._key_prefix = stream_key(namespace), key_prefix(namespace)
        self._words = cells.memory.words
        self.inbox = Inbox(cells.memory.node)
        self.sent = 0
        """Entries given to Redis."""
        self.applied = 0
        """Entries of others that were counted here."""
        self.skipped = 0
        """Entries of others that found their lock held by a stopped process."""
        self.failures = 0
        self.error = ""
        self._forgotten: dict[tuple[int, int], int] = {}
        self._forgotten_all = 0
        self._unsure: list[Entry] = []
        self._unsure_since = 0
        self._stop = threading.Event()
        self._up: set[str] = set()
        self._threads: list[threading.Thread] = []

    # what it does, without a clock or a connection

    def forget(self, key: str | None) -> None:
        """A limit was reset (None: all): what was used before, here or elsewhere, is told and counted no more. What
        the others use until they have heard of it is not counted either."""
        until = self._cells.now() + FORGET_NS
        if key is None:
            self._forgotten_all = until
            return
        if len(self._forgotten) >= MOST_FORGOTTEN:
            self._forgotten.pop(next(iter(self._forgotten)), None)
        self._forgotten[self._cells.identify(key, LIMIT)] = until

    def _counts(self, entry: Entry, at: int) -> bool:
        """Whether what was used at a time still stands."""
        if entry.kind != LIMIT or not (self._forgotten or self._forgotten_all):
            return True
        return at > max(self._forgotten_all, self._forgotten.get((entry.low, entry.high), 0))

    def outgoing(self, now: int) -> bytes | None:
        """The next message, None when there is nothing to tell. `delivered` says that it arrived."""
        if self._unsure:
            passed = now - self._unsure_since
            # what was paid back meanwhile is no news
            entries = [
                entry._replace(span=entry.span + passed) if entry.kind == LIMIT else entry
                for entry in self._unsure
                if entry.kind != LIMIT
                or (
                    entry.span + passed < entry.amount and self._counts(entry, self._unsure_since + FORGET_NS)
                )
            ]
        else:
            entries = collect(self._cells, MOST_ENTRIES - 8, now)
            if entries:
                self._words[SEQUENCE_WORD] += 1
                self._unsure, self._unsure_since = entries, now
        if not entries:
            self._unsure = []
            return None
        return encode(Message(self._cells.memory.node, self._words[SEQUENCE_WORD], entries))

    def delivered(self) -> None:
        """The last message arrived."""
        self.sent += len(self._unsure)
        self._unsure = []

    def incoming(self, data: bytes, age: int, now: int) -> None:
        """Count a message that was sent `age` nanoseconds ago."""
        message = self.inbox.accept(data)
        if message is None:
            return
        at = now - min(max(age, 0), OLDEST_NS)
        for entry in message.entries:
            if not self._counts(entry, at):
                continue
            if spend(self._cells, entry, at, now):
                self.applied += 1
            else:
                self.skipped += 1

    # the threads

    def start(self) -> None:
        """Exchange in two threads until `close`."""
        for name, work in (("send", self._send), ("receive", self._receive)):
            thread = threading.Thread(target=self._keep, args=(name, work), name=f"kgate-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop; returns within the timeouts of the connection."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads = []

    @property
    def connected(self) -> bool:
        """Do both directions have a connection?"""
        return len(self._up) == 2

    def _keep(self, name: str, work: Callable[[Any], Iterator[None]]) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            client = self._connect()
            try:
                for _ in work(client):
                    self._up.add(name)
                    pause = FIRST_PAUSE
                    if self._stop.is_set():
                        break
                    self.error = self.error if len(self._up) < 2 else ""
            except (redis.RedisError, OSError) as error:
                self.failures += 1
                self.error = str(error)
            finally:
                self._up.discard(name)
                client.close()
            # jitter, so that the nodes do not all come back at once
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            pause = min(pause * 2, LONGEST_PAUSE)

    def _send(self, client: Any) -> Iterator[None]:
        client.ping()
        board = Board(self._cells, self._key_prefix)
        while True:
            yield
            board.tell(client)
            data = self.outgoing(self._cells.now())
            if data is not None:
                pipeline = client.pipeline(transaction=False)
                pipeline.xadd(self._key, {_FIELD: data}, maxlen=STREAM_MESSAGES, approximate=True)
                pipeline.expire(self._key, STREAM_SECONDS)
                pipeline.execute()
                self.delivered()
            self._stop.wait(INTERVAL_SECONDS)

    def _receive(self, client: Any) -> Iterator[None]:
        ahead = self._find_place(client)
        words = self._words
        while True:
            yield
            after = f"{words[PLACE_WORD]}-{words[PLACE_WORD + 1]}"
            answer = client.xread({self._key: after}, count=64, block=BLOCK_MILLISECONDS)
            for _, messages in answer or ():
                for name, fields in messages:
                    milliseconds, number = _place(name)
                    now = self._cells.now()
                    self.incoming(fields.get(_FIELD, b""), now - ahead - milliseconds * 10**6, now)
                    # after it was counted: a keeper killed in between counts one message again
                    words[PLACE_WORD], words[PLACE_WORD + 1] = milliseconds, number

    def _find_place(self, client: Any) -> int:
        """Where to read from; returns how far our clock is ahead of Redis's, in nanoseconds."""
        seconds, microseconds = client.time()
        newest = client.xrevrange(self._key, count=1)
        if not newest or _place(newest[0][0]) < (self._words[PLACE_WORD], self._words[PLACE_WORD + 1]):
            # Redis lost the stream: what is there now is new, and the numbers tell what is not
            self._words[PLACE_WORD] = self._words[PLACE_WORD + 1] = 0
        return self._cells.now() - (int(seconds) * 10**9 + int(microseconds) * 1000)


def _place(name: bytes) -> tuple[int, int]:
    milliseconds, _, number = name.partition(b"-")
    return int(milliseconds), int(number)
