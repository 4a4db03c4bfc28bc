"""Revocations as passport asks for them.

Sections of an image: revoked.token and revoked.subject (see `hashes.py`, a term is a row of revoked.expires, f64),
revoked.before (msgpack: issuer -> [issued before, expires or none]).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from math import inf

import msgpack

from kong_plugins.state.hashes import Hasher, HashTable, build_hash_table
from kong_plugins.state.revocations import Revocation
from kong_plugins.state.tables import F64, U8, Sections, column, doubles

Newer = Mapping[str, Revocation | None]


class RevocationTable:
    """The revocations of an image."""

    __slots__ = ("before", "expires", "hashed", "subjects", "tokens")

    def __init__(self, sections: Sections, hashed: Hasher) -> None:
        """Raises FormatError."""
        self.hashed = hashed
        self.tokens = HashTable(sections, "revoked.token")
        self.subjects = HashTable(sections, "revoked.subject")
        self.expires = doubles(sections, "revoked.expires")
        self.before: dict[str, tuple[float, float | None]] = msgpack.unpackb(
            column(sections, "revoked.before", U8), use_list=False
        )

    def holds(self, table: HashTable, text: str, now: float) -> bool:
        """Whether a live revocation of the text is in the table."""
        return any(now < self.expires[table.terms[row]] for row in table.rows(self.hashed(text)))

    def __len__(self) -> int:
        return len(self.tokens) + len(self.subjects) + len(self.before)


class RevocationView:
    """Whether a verified token is refused all the same."""

    __slots__ = ("_newer", "_table")

    def __init__(self, table: RevocationTable, newer: Newer | None = None) -> None:
        self._table = table
        self._newer = newer or {}

    def reason(
        self, issuer: str, subject: str | None, token_id: str | None, issued_at: float | None, now: float
    ) -> str:
        """token_revoked, subject_revoked, issued_before, or "" for a token that stands.

        issued_at: the claim `iat` in Unix seconds. A token without one is refused while its issuer has a
        "before": nobody knows that it is younger.
        """
        table = self._table
        if token_id and self._is_revoked("token", table.tokens, f"{issuer}|{token_id}", now):
            return "token_revoked"
        if subject and self._is_revoked("subject", table.subjects, f"{issuer}|{subject}", now):
            return "subject_revoked"
        before = self._before(issuer, now)
        if before is not None and (issued_at is None or issued_at < before):
            return "issued_before"
        return ""

    def _is_revoked(self, kind: str, table: HashTable, text: str, now: float) -> bool:
        if self._newer:
            key = f"{kind} {text}"
            if key in self._newer:
                found = self._newer[key]
                return found is not None and (found.expires is None or now < found.expires)
        return bool(len(table)) and self._table.holds(table, text, now)

    def _before(self, issuer: str, now: float) -> float | None:
        key = f"before {issuer}"
        if key in self._newer:
            found = self._newer[key]
            if found is None:
                return None
            before, expires = found.issued_before, found.expires
        else:
            before, expires = self._table.before.get(issuer, (None, None))
        return before if expires is None or now < expires else None

    def __len__(self) -> int:
        """About: what was set and removed since the image is counted as set."""
        return len(self._table) + len(self._newer)


def build_revocations(revocations: Iterable[Revocation], hashed: Hasher) -> dict[str, bytes]:
    """The sections."""
    rows: dict[str, list[tuple[int, int]]] = {"token": [], "subject": []}
    before: dict[str, tuple[float | None, float | None]] = {}
    expires = array(F64)
    for one in revocations:
        if one.kind == "before":
            before[one.issuer] = (one.issued_before, one.expires)
        else:
            rows[one.kind].append((hashed(f"{one.issuer}|{one.value}"), len(expires)))
            expires.append(inf if one.expires is None else one.expires)
    return {
        **build_hash_table("revoked.token", rows["token"]),
        **build_hash_table("revoked.subject", rows["subject"]),
        "revoked.expires": expires.tobytes(),
        "revoked.before": msgpack.packb(before),
    }
