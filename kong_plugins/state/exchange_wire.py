"""The message in which a node tells the others what it used, and the judging of one that came.

    magic 4 bytes | node 16 bytes | sequence u64 | count u32 | entries
    entry: id low i64 | id high i64 | amount i64 | kind (3 bits) and span (61 bits)

A message counts whole or not at all. The ids are digests: no address and no user name goes through Redis.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from kong_plugins.state.cell_table import COUNTER, KIND_BITS, KIND_MASK, LIMIT
from kong_plugins.state.sharing import Entry

MOST_ENTRIES = 2000
"""Of one message, 64 KB."""
MOST_AMOUNT = 1 << 60
MOST_SPAN = 1 << 57

_MAGIC = b"kgx1"
_HEAD = struct.Struct("<4s16sQI")
_ENTRY = struct.Struct("<qqqq")


class Message(NamedTuple):
    """What one node used since its message before. `sequence` rises with each message of a node."""

    node: bytes
    sequence: int
    entries: Sequence[Entry]


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    parts = [_HEAD.pack(_MAGIC, message.node, message.sequence, len(message.entries))]
    parts += [
        _ENTRY.pack(entry.low, entry.high, entry.amount, entry.span << KIND_BITS | entry.kind)
        for entry in message.entries
    ]
    return b"".join(parts)


def decode(data: bytes) -> Message | None:
    """The message in these bytes, None when they are none."""
    if len(data) < _HEAD.size:
        return None
    magic, node, sequence, count = _HEAD.unpack_from(data)
    if magic != _MAGIC or count > MOST_ENTRIES or len(data) != _HEAD.size + count * _ENTRY.size:
        return None
    entries = []
    for low, high, amount, meta in _ENTRY.iter_unpack(data[_HEAD.size :]):
        kind, span = meta & KIND_MASK, meta >> KIND_BITS
        known = (kind == LIMIT and span >= 0) or (kind == COUNTER and span > 0)
        if not known or span > MOST_SPAN or not 0 < amount <= MOST_AMOUNT or low == 0:
            return None
        entries.append(Entry(low, high, kind, amount, span))
    return Message(node, sequence, entries)


class Inbox:
    """Which messages of which node were seen: an own one, and one that comes twice, are not counted.

    Safe for any number of nodes: the least recently heard is forgotten beyond `MOST_NODES`.
    """

    MOST_NODES = 1024

    def __init__(self, node: bytes) -> None:
        self._node = node
        self._seen: dict[bytes, int] = {}
        self.own = 0
        self.repeated = 0
        self.garbage = 0

    def accept(self, data: bytes) -> Message | None:
        """The message in these bytes if it is to be counted."""
        message = decode(data)
        if message is None:
            self.garbage += 1
            return None
        if message.node == self._node:
            self.own += 1
            return None
        last = self._seen.pop(message.node, -1)
        self._seen[message.node] = max(last, message.sequence)
        if last >= message.sequence:
            self.repeated += 1
            return None
        if len(self._seen) > self.MOST_NODES:
            del self._seen[next(iter(self._seen))]
        return message
