"""Which allow a target touches: one that covers it, or that lies inside it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from kong_plugins.state.addresses import network_number
from kong_plugins.state.allows import Allow, allow_of
from kong_plugins.state.base import Store, StoreError

_WIDTH = {4: 32, 6: 128}


class Allowed:
    """An index over the allows, for many questions."""

    def __init__(self, allows: Iterable[Allow]) -> None:
        found: dict[int, list[tuple[int, int, Allow]]] = {4: [], 6: []}
        self._users: dict[str, Allow] = {}
        for allow in allows:
            if allow.kind == "user":
                self._users[allow.value] = allow
            else:
                version, first, last = _range(allow.value)
                found[version].append((first, last, allow))
        # a block of a subject alone counts for all issuers: it touches the allow of each
        self._subjects = {value.partition("|")[2] or value: allow for value, allow in self._users.items()}
        # networks are nested or apart, so the outermost ones alone say whether something is touched
        self._outer: dict[int, list[tuple[int, int, Allow]]] = {4: [], 6: []}
        for version, ranges in found.items():
            for entry in sorted(ranges, key=lambda entry: (entry[0], -entry[1])):
                outer = self._outer[version]
                if not outer or entry[0] > outer[-1][1]:
                    outer.append(entry)
        self._firsts = {version: [entry[0] for entry in outer] for version, outer in self._outer.items()}

    @classmethod
    def of(cls, store: Store) -> Allowed:
        """The allows of a store. Raises StoreError."""
        try:
            return cls(map(allow_of, store.records("allows")))
        except ValueError as error:
            raise StoreError(f"{store.address}: {error}") from error

    def touching(self, kind: str, value: str) -> Allow | None:
        """An allow that a block of (kind, canonical value) would touch, if any. Tokens and agents touch none."""
        if kind == "user":
            issuer, bar, subject = value.partition("|")
            return (self._users.get(value) or self._users.get(subject)) if bar else self._subjects.get(issuer)
        if kind not in ("ip", "cidr"):
            return None
        version, first, last = _range(value)
        firsts, outer = self._firsts[version], self._outer[version]
        before = bisect_right(firsts, first) - 1
        if before >= 0 and outer[before][1] >= first:
            return outer[before][2]
        after = bisect_left(firsts, first)
        return outer[after][2] if after < len(outer) and firsts[after] <= last else None


def _range(value: str) -> tuple[int, int, int]:
    """(IP version, first, last) of a canonical address or network."""
    version, number, bits = network_number(value)
    return version, number, number | ((1 << (_WIDTH[version] - bits)) - 1)
