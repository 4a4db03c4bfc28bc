"""The collections of the control state: what each is for, how much it may hold, how long a record lasts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HOUR = 3_600.0
DAY = 24 * HOUR


class Collection(NamedTuple):
    """cap: records at most. default_ttl: seconds, given by the operations to a record without a TTL; None: it
    has no end. rows, all_rows: rows of one record and of all records together, where records have
    imported rows."""

    cap: int
    default_ttl: float | None = None
    rows: int = 0
    all_rows: int = 0


COLLECTIONS: Mapping[str, Collection] = {
    # "ip V", "cidr V", "user [ISS|]SUB", "token [ISS|]JTI", "agent SUBSTRING": refused by abuse-guard
    "blocks": Collection(100_000),
    # "ip V", "cidr V", "user [ISS|]SUB": no block touches them
    "allows": Collection(10_000),
    # NAME: what stands above the plan of a canary
    "canaries": Collection(1_000),
    # "tenant N", "service N", "route N": answered by the fallback until it is cleared
    "fallbacks": Collection(10_000),
    # "service N", "route N", "tenant N", "*": breakers held open or closed, or reset once
    "breakers": Collection(10_000),
    # "ip V", "cidr V", "user ISS|SUB": pass with a score, or at a slow pace
    "marks": Collection(10_000, HOUR),
    # "token ISS|JTI", "subject ISS|SUB", "before ISS"
    "revocations": Collection(100_000, 30 * DAY),
    # KEY of a limit, "*" for all: counters to forget once
    "limits": Collection(1_000, HOUR),
    # NAME of an imported set of blocks; its rows are in bulk
    "sources": Collection(1_000, rows=1_000_000, all_rows=1_000_000),
    # NAME of a list of users or addresses that configs name; its rows are in bulk
    "lists": Collection(1_000, rows=1_000_000, all_rows=4_000_000),
    # fetched key sets and the versions of our own keys: opaque here
    "jwks": Collection(1_000),
    "keys": Collection(1_000),
}

MAX_LOG = 10_000
"""Changes kept for followers; who is further behind reads everything again."""
MAX_EVENTS = 10_000
"""Entries of the audit log."""
