"""The keyring's records, and what state each key is in at a moment.

    next      published, signs from `sign_from` on: verifiers learn of a key before the first passport of it comes
    current   signs; of those whose time has come the one with the latest `sign_from`
    previous  signed before; published until the last passport of it is over
    revoked   neither signs nor is published; its private part is gone

The states follow from the times: nothing has to happen at a moment for a key to begin or to end, and every process
sees the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kong_plugins.identity.keyring import KID
from kong_plugins.identity.signing import SIGNING_ALGORITHMS

KEEP_SECONDS = 3_600.0 + 300.0
"""A key stays published for so long after the next one signs: the longest `ttl` of a passport and clock skew."""
PUBLISH_SECONDS = 600.0
"""Default time between publishing and signing: twice as long as verifiers may keep our JWKS."""
MAX_KEYS = 20


class KeyRecord(NamedTuple):
    """One key. Times are Unix seconds; revoked is None for one that is not. sealed: the private part, sealed, or
    (in a private folder, without a secret) as it is; "" once it was revoked. version is the record's in the store.
    """

    kid: str
    alg: str
    created: float
    sign_from: float
    revoked: float | None = None
    sealed: str = ""
    plain: str = ""
    version: int = 0

    @property
    def bound(self) -> bytes:
        """What the sealed text is bound to."""
        return f"{self.kid}|{self.alg}|{self.created!r}|{self.sign_from!r}".encode()

    def __repr__(self) -> str:  # a plain private part must not get into a log
        return f"KeyRecord(kid={self.kid!r}, alg={self.alg!r})"


class KeyState(NamedTuple):
    """A key's state at a moment. until: when it changes by itself, None for never."""

    record: KeyRecord
    state: str
    published: bool
    until: float | None = None


def record_data(record: KeyRecord) -> dict[str, Any]:
    """The record as JSON for a store; its key there is the kid."""
    data: dict[str, Any] = {"alg": record.alg, "created": record.created, "sign_from": record.sign_from}
    if record.revoked is not None:
        data["revoked"] = record.revoked
    if record.sealed:
        data["sealed"] = record.sealed
    if record.plain:
        data["plain"] = record.plain
    return data


def record_of(kid: str, data: Mapping[str, Any], version: int = 0) -> KeyRecord:
    """Raises ValueError naming the key."""
    try:
        if not KID.fullmatch(kid):
            raise ValueError("its id is not 1 to 64 letters, digits and '._~-'")
        alg, sealed, plain = data["alg"], data.get("sealed", ""), data.get("plain", "")
        if alg not in SIGNING_ALGORITHMS or not isinstance(sealed, str) or not isinstance(plain, str):
            raise ValueError("alg or sealed is not of the known form")
        revoked = None if data.get("revoked") is None else _time(data["revoked"])
        return KeyRecord(
            kid, alg, _time(data["created"]), _time(data["sign_from"]), revoked, sealed, plain, version
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"key {kid!r} cannot be read: {error}") from error


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a time is no number")
    return float(value)


def states(records: Iterable[KeyRecord], now: float) -> list[KeyState]:
    """Every key's state at `now` (Unix seconds): next, current, previous, revoked; in each the newest first."""
    records = tuple(records)
    live = sorted((r for r in records if r.revoked is None), key=_order)
    gone = sorted((r for r in records if r.revoked is not None), key=_order, reverse=True)
    begun = [r for r in live if r.sign_from <= now]
    found = [KeyState(r, "next", True, r.sign_from) for r in reversed(live) if r.sign_from > now]
    after: float | None = next((r.sign_from for r in live if r.sign_from > now), None)
    for number, record in enumerate(reversed(begun)):
        if number == 0:
            found.append(KeyState(record, "current", True, after))
        else:
            end = begun[len(begun) - number].sign_from + KEEP_SECONDS
            found.append(KeyState(record, "previous", now < end, end if now < end else None))
    return found + [KeyState(record, "revoked", False) for record in gone]


def _order(record: KeyRecord) -> tuple[float, float, str]:
    return record.sign_from, record.created, record.kid
