"""The share of users that a canary gets: sticky, monotone, the same on every node.

A user's bucket is a keyed hash of the verified identity, 0 to 9,999. A user is in when the bucket is below
the threshold, so raising the percent only ever adds users. Nobody who does not know the key can choose a
name that falls into the canary.
"""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000
"""Steps of the percent: 0.01 each."""


def hash_key(salt: str) -> bytes:
    """The key of a canary's hash: BLAKE2b-256 of its salt (a key has at most 64 bytes)."""
    return blake2b(salt.encode("utf-8", "surrogatepass"), digest_size=32).digest()


def bucket(key: bytes, user: str) -> int:
    """The user's bucket, 0 to BUCKETS - 1: 8 bytes of keyed BLAKE2b (RFC 7693) of the user, big-endian,
    modulo BUCKETS. `user` is `Identity.key`, key is a `hash_key`."""
    digest = blake2b(user.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") % BUCKETS


def threshold(percent: float) -> int:
    """The number of buckets that `percent` (0..100) covers, rounded to the nearest."""
    return round(percent * BUCKETS / 100)
