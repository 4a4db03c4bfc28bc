"""The keyring in use: opens the records of a store, and says which key signs and which are published."""

from __future__ import annotations

import logging
from collections import Counter as Tallies
from collections.abc import Iterable, Mapping
from typing import Any

from kong_plugins.identity.key_records import KeyRecord, record_of, states
from kong_plugins.identity.sealing import Sealer, SealError
from kong_plugins.identity.signing import Keyring, load_key

_log = logging.getLogger("kgate.identity")


class NoSigningKey(Exception):
    """No key of the keyring may sign now."""


def open_record(record: KeyRecord, sealer: Sealer | None) -> Keyring:
    """The key of a record. Raises ValueError naming it; the message holds nothing of the key."""
    try:
        if record.sealed:
            if sealer is None:
                raise SealError("is sealed, and the keyring has no secret_file or secret_env")
            raw = sealer.open(record.sealed, record.bound)
        elif record.plain and sealer is None:
            raw = record.plain.encode()
        else:
            # a writer of the store must not be able to bring a key of his own
            raise SealError("is not sealed")
        # what was sealed is what was checked when it was taken in, and the check of an RSA key takes 100 ms
        return Keyring(load_key(raw, record.alg, checked=bool(record.sealed)), record.kid)
    except ValueError as error:
        raise ValueError(f"key {record.kid}: {error}") from error


class Ring:
    """Several keys, of which at each moment at most one signs. `version` changes with the records.

    For one thread. A key that cannot be opened is passed over, and said in the log.
    """

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._opened: dict[KeyRecord, Keyring] = {}
        self._records: tuple[KeyRecord, ...] = ()
        self._current: Keyring | None = None
        self._keyrings: tuple[Keyring, ...] = ()
        self._until = float("-inf")
        self.version = 0

    def use(self, records: Iterable[KeyRecord]) -> bool:
        """Take these records in place of those before. Returns whether anything changed."""
        wanted = tuple(sorted(records, key=lambda record: record.kid))
        if wanted == self._records and self.version:
            return False
        opened: dict[KeyRecord, Keyring] = {}
        for record in wanted:
            if record.revoked is not None:
                continue
            kept = self._opened.get(record)
            try:
                opened[record] = kept or open_record(record, self._sealer)
            except ValueError as error:
                _log.error("passport.keyring: %s: it is left out", error)
        # a request's deadline may end this at any place: then all of it is done again
        self._opened = opened
        self._until = float("-inf")
        self.version += 1
        self._records = wanted
        return True

    def use_data(self, data: Mapping[str, Any]) -> bool:
        """As `use`, with what a store holds: kid -> a record that has `data`."""
        records = []
        for kid in data:
            try:
                records.append(record_of(kid, data[kid].data))
            except ValueError as error:
                _log.error("passport.keyring: %s: it is left out", error)
        return self.use(records)

    def current(self, now: float) -> Keyring:
        """The key that signs at `now` (Unix seconds). Raises NoSigningKey."""
        if now >= self._until:
            self._choose(now)
        if self._current is None:
            raise NoSigningKey
        return self._current

    def keyrings(self, now: float) -> tuple[Keyring, ...]:
        """The keys that are believed, the one that signs first; the same tuple as long as nothing changes."""
        if now >= self._until:
            self._choose(now)
        return self._keyrings

    def _choose(self, now: float) -> None:
        current, until = None, float("inf")
        for found in states(self._opened, now):
            if found.state == "current":
                current = self._opened[found.record]
            if found.state == "next" and found.until is not None:
                until = min(until, found.until)
        first = () if current is None else (current,)
        # a key that will sign is believed too: another server's clock may be ahead
        self._keyrings = first + tuple(each for each in self._opened.values() if each is not current)
        self._current = current
        self._until = until  # last, as in `use`

    def public_jwks(self, now: float) -> dict[str, Any]:
        """The published keys, as a JWKS document: those that sign now, will, and did."""
        found = [
            self._opened[each.record].public_jwk() for each in states(self._opened, now) if each.published
        ]
        return {"keys": [jwk for jwk in found if jwk is not None]}

    def ages(self, now: float) -> dict[str, Any]:
        """For metrics: seconds since the key that signs began to (None: none signs), and keys by state."""
        found = states(self._opened, now)
        age = next((now - each.record.sign_from for each in found if each.state == "current"), None)
        return {"age": age, "states": Tallies(each.state for each in found if each.published)}

    def __repr__(self) -> str:
        return f"Ring({', '.join(record.kid for record in self._records)})"

    def __reduce__(self) -> Any:
        raise TypeError("a keyring is not for pickling")
