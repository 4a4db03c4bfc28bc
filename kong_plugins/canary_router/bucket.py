"""The share of users that a canary gets: sticky, monotone, the same on every node.

A user's bucket is a keyed hash of the verified identity, 0 to 9,999. A user is in when the bucket is below
the threshold, so raising the percent only ever adds users. Nobody who does not know the key can choose a
name that falls into the canary.
"""

from __future__ import annotations

import hmac

BUCKETS = 10_000
"""Steps of the percent: 0.01 each."""


def bucket(key: bytes, user: str) -> int:
    """The user's bucket, 0 to BUCKETS - 1: the first four bytes of HMAC-SHA256(key, user), big-endian,
    modulo BUCKETS. `user` is `Identity.key`."""
    digest = hmac.digest(key, user.encode("utf-8", "surrogatepass"), "sha256")
    return int.from_bytes(digest[:4], "big") % BUCKETS


def threshold(percent: float) -> int:
    """The number of buckets that `percent` (0..100) covers, rounded to the nearest."""
    return round(percent * BUCKETS / 100)
