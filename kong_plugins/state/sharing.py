"""What one node tells the others about its cells, and what it does with what they tell."""

from __future__ import annotations

import struct
from typing import NamedTuple

from kong_plugins.state.cell_memory import BUCKET_WORDS, SLOTS
from kong_plugins.state.cell_table import (
    COUNTER,
    HIGH,
    KIND_BITS,
    KIND_MASK,
    LIMIT,
    META,
    MOST,
    UNSENT,
    UNTIL,
)
from kong_plugins.state.cells import Cells
from kong_plugins.state.gcra import EXCHANGE_NS, charge

_WORDS = struct.Struct(f"{BUCKET_WORDS}q").unpack_from


class Entry(NamedTuple):
    """What was used of one key.

    amount: nanoseconds of a limit, or a count. span: of a limit, how much of it was already paid back when it was
    told (at most 0.1 s); of a counter, its window.
    """

    low: int
    high: int
    kind: int
    amount: int
    span: int


def collect(cells: Cells, most: int, now: int) -> list[Entry]:
    """What was used since the last call, at most about so many entries; the rest stays for the next calls.

    Of a limit, what was paid back more than 0.1 s ago is no news: a node that was alone for long does not charge
    the others for all that time.
    """
    entries: list[Entry] = []
    start = cells.memory.dirty_at
    at, end = start + cells.cursor, start + cells.memory.buckets
    wrapped = False
    while len(entries) < most:
        at = cells.map.find(b"\1", at, end)
        if at < 0:
            if wrapped:
                break
            # from the beginning to where this call began
            at, end, wrapped = start, start + cells.cursor, True
            continue
        bucket = at - start
        at += 1
        stripe = bucket & cells.stripe_mask
        if not cells.acquire(stripe):
            continue
        try:
            cells.dirty[bucket] = 0
            base = cells.first + bucket * BUCKET_WORDS
            fields = _WORDS(cells.map, base * 8)
            for index in range(SLOTS):
                unsent = fields[index + UNSENT]
                if unsent:
                    cells.words[base + index + UNSENT] = 0
                    left = fields[index + UNTIL] - now
                    kind = fields[index + META] & KIND_MASK
                    if kind == LIMIT:
                        amount = min(unsent, left + EXCHANGE_NS)
                        span = max(amount - left, 0)
                    else:
                        amount = unsent if left > 0 else 0
                        span = fields[index + META] >> KIND_BITS
                    if amount > 0:
                        entries.append(Entry(fields[index], fields[index + HIGH], kind, amount, span))
        finally:
            cells.release(stripe)
    cells.cursor = max(at - start, 0)
    return entries


def spend(cells: Cells, entry: Entry, at: int, now: int) -> bool:
    """Count what another node used at the time `at`. False when the lock could not be had."""
    low, high = entry.low, entry.high
    if entry.kind == COUNTER:
        if at + entry.span > now:
            cells.count(low, high, entry.amount, entry.span, now, 0)
        return True
    bucket = cells.bucket_of(low)
    stripe = bucket & cells.stripe_mask
    if not cells.acquire(stripe):
        return False
    try:
        base = cells.first + bucket * BUCKET_WORDS
        slot = cells.find(base, low, high)
        # for one that is in use here the whole amount is new; on an idle one it ends where it does at the other
        tat = charge(cells.words[slot + UNTIL] if slot >= 0 else 0, at - entry.span, entry.amount)
        if tat > now:
            if slot < 0:
                slot = cells.claim(base, low, high, LIMIT, now)
            cells.words[slot + UNTIL] = min(tat, MOST)
        return True
    finally:
        cells.release(stripe)
