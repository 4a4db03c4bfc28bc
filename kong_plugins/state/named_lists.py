"""Named lists of a snapshot: users or addresses that configs name in place of writing them out.

Sections of an image: for a list N of users list.N (a set of hashes, see `hashes.py`), of addresses list.N (a set of
networks, see `networks.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kong_plugins.state.addresses import address_halves, network_number
from kong_plugins.state.hashes import Hasher, HashSet, build_hash_set
from kong_plugins.state.lists import RowSet
from kong_plugins.state.networks import NetworkSet, build_network_set
from kong_plugins.state.records import Rows


class _Users(Protocol):
    def holds(self, hashed: int) -> bool: ...


class _Networks(Protocol):
    def holds(self, version: int, high: int, low: int) -> bool: ...


class NamedList:
    """One list: `about` says name, kind, count and expires. A list of the other kind holds nothing."""

    __slots__ = ("_hashed", "_networks", "_users", "about")

    def __init__(
        self,
        about: RowSet,
        hashed: Hasher,
        users: _Users | None = None,
        networks: _Networks | None = None,
    ) -> None:
        self.about = about
        self._hashed, self._users, self._networks = hashed, users, networks

    def has_user(self, issuer: str, subject: str, now: float = 0.0) -> bool:
        """Whether "issuer|subject" or the subject alone is in the list, and the list has not ended at `now`."""
        users, hashed = self._users, self._hashed
        if users is None or self._has_ended(now):
            return False
        return users.holds(hashed(f"{issuer}|{subject}")) or users.holds(hashed(subject))

    def has_address(self, ip: str, now: float = 0.0) -> bool:
        """Whether a network of the list holds the address, and the list has not ended at `now`."""
        if self._networks is None or self._has_ended(now):
            return False
        try:
            return self._networks.holds(*address_halves(ip))
        except ValueError:
            return False

    def _has_ended(self, now: float) -> bool:
        return self.about.expires is not None and now >= self.about.expires

    def __len__(self) -> int:
        return self.about.size


def build_list(about: RowSet, rows: Rows, hashed: Hasher) -> tuple[dict[str, bytes], list[str]]:
    """The sections of a list, and the rows that cannot be read."""
    name = f"list.{about.name}"
    if about.kind == "users":
        return build_hash_set(name, map(hashed, rows)), []
    networks, bad = [], []
    for row in rows:
        kind, _, value = row.partition(" ")
        try:
            if kind not in ("ip", "cidr"):
                raise ValueError(kind)
            networks.append(network_number(value))
        except ValueError:
            bad.append(row)
    return build_network_set(name, networks), bad


def open_list(about: RowSet, sections: Mapping[str, memoryview], hashed: Hasher) -> NamedList:
    """The list of these sections. Raises FormatError."""
    name = f"list.{about.name}"
    if about.kind == "users":
        return NamedList(about, hashed, users=HashSet(sections, name))
    return NamedList(about, hashed, networks=NetworkSet(sections, name))
