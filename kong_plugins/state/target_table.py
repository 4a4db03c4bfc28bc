"""Targets in an image: blocks or allows by address, user, token id or user agent.

Sections under a name N: N.net (see `networks.py`), N.user and N.token (see `hashes.py`), N.agent (msgpack: list of
[part, term]), N.origin (msgpack: entries by origin). A term is what many entries share: N.expires (f64, infinite
without an end; the smallest in N.first) and N.meta (u32), a place in N.offset (u64) of N.data, msgpack [origin,
reason, actor, created, source, version]. origin is the name of the imported set that the entry came with, "" for
one set by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from math import inf
from socket import AF_INET, inet_pton
from typing import NamedTuple

import msgpack

from kong_plugins.state.addresses import network_number, number_address
from kong_plugins.state.agents import MAX_AGENTS
from kong_plugins.state.base import Block
from kong_plugins.state.hashes import Hasher, HashTable, build_hash_table
from kong_plugins.state.networks import MAX_TERMS, NetworkTable, NetworkTableBuilder
from kong_plugins.state.tables import F64, U8, U32, U64, FormatError, Sections, column, doubles, same_length
from kong_plugins.state.targets import split_key

_LOW = (1 << 64) - 1
_CACHED = 2_048
_SHORTEST = {4: 8, 6: 16}
"""As in `targets.py`; rows are not looked at there again."""


class Meta(NamedTuple):
    """What is told of an entry; see the module."""

    origin: str
    reason: str
    actor: str
    created: float
    source: str
    version: int


class TargetTable:
    """The targets of an image, live or not; `TargetView` judges them. `expires` is a column over the terms,
    `first_end` the smallest of them: before that all entries are live."""

    __slots__ = (
        "_data",
        "_found",
        "_meta",
        "_offsets",
        "_terms",
        "agents",
        "expires",
        "first_end",
        "hashed",
        "networks",
        "origins",
        "texts",
    )

    def __init__(self, sections: Sections, name: str, hashed: Hasher) -> None:
        """Raises FormatError."""
        self.hashed = hashed
        self.networks = NetworkTable(sections, f"{name}.net")
        self.texts = {kind: HashTable(sections, f"{name}.{kind}") for kind in ("user", "token")}
        self.agents: list[tuple[str, int]] = [
            (part, term) for part, term in msgpack.unpackb(column(sections, f"{name}.agent", U8))
        ]
        self.origins: dict[str, int] = msgpack.unpackb(column(sections, f"{name}.origin", U8))
        self.expires = doubles(sections, f"{name}.expires")
        self._terms = column(sections, f"{name}.meta", U32)
        self._offsets = column(sections, f"{name}.offset", U64)
        self._data = column(sections, f"{name}.data", U8)
        same_length(self.expires, self._terms)
        (self.first_end,) = doubles(sections, f"{name}.first")
        if not len(self._offsets) or self._offsets[-1] != len(self._data):
            raise FormatError(f"section {name}.offset does not fit {name}.data")
        # what was asked for of late
        self._meta: dict[int, Meta] = {}
        self._found: dict[int, Block] = {}

    def meta(self, term: int) -> Meta:
        """What is told of a term's entries."""
        place = self._terms[term]
        found = self._meta.get(place)
        if found is None:
            if len(self._meta) >= _CACHED:
                self._meta.clear()
            found = Meta(*msgpack.unpackb(self._data[self._offsets[place] : self._offsets[place + 1]]))
            self._meta[place] = found
        return found

    def holds(self, key: str) -> bool:
        """Whether the target is here by itself, not with an imported set. Raises ValueError."""
        kind, _, value = key.partition(" ")
        if kind in ("ip", "cidr"):
            return bool(self.entries_of(key))
        if kind == "agent":
            terms = [term for part, term in self.agents if part == value]
        else:
            table = self.texts[kind]
            terms = [table.terms[row] for row in table.rows(self.hashed(value))]
        return any(not self.meta(term).origin for term in terms)

    def entries_of(self, key: str) -> list[int]:
        """The entries of a network that stand here by themselves, not with an imported set. Raises ValueError."""
        version, number, length = network_number(key.partition(" ")[2])
        at = self.networks.terms
        covering = self.covering(version, number)
        return [entry for bits, entry in covering if bits == length and not self.meta(at[entry]).origin]

    def covering(self, version: int, number: int) -> Iterator[tuple[int, int]]:
        """(prefix length, entry) of the networks that hold the address, the narrowest first."""
        networks = self.networks
        entry = networks.narrowest(version, number >> 64, number & _LOW)
        while entry >= 0:
            yield networks.bits[entry], entry
            entry = networks.parents[entry]

    def block(self, kind: str, value: str, term: int) -> Block:
        """The entry as a block."""
        meta, expires = self.meta(term), self.expires[term]
        told = (meta.reason, meta.actor, meta.created, None if expires == inf else expires)
        return Block(kind, value, *told, meta.source, meta.version)

    def network_block(self, version: int, number: int, entry: int) -> Block:
        """The block of an entry of `networks`; the address is one that it holds."""
        # an attacker comes again and again: writing an IPv6 address costs as much as finding it
        found = self._found.get(entry)
        if found is None:
            if len(self._found) >= _CACHED:
                self._found.clear()
            bits, term = self.networks.bits[entry], self.networks.terms[entry]
            shift = (32 if version == 4 else 128) - bits
            text = number_address(version, number >> shift << shift)
            found = self.block(*(("cidr", f"{text}/{bits}") if shift else ("ip", text)), term)
            self._found[entry] = found
        return found

    def __len__(self) -> int:
        return len(self.networks) + sum(map(len, self.texts.values())) + len(self.agents)


class TargetTableBuilder:
    """Collects targets and makes the sections of a `TargetTable`. Of two entries of one network
    or text, the one that was added later comes first."""

    def __init__(self, hashed: Hasher) -> None:
        self._hashed = hashed
        self._networks = NetworkTableBuilder()
        self._texts: dict[str, list[tuple[int, int]]] = {"user": [], "token": []}
        self._agents: list[tuple[str, int]] = []
        self._expires = array(F64)
        self._places = array(U32)
        self._metas: dict[Meta, int] = {}
        self._origins: dict[str, int] = {}

    def term(self, meta: Meta, expires: float | None) -> int:
        """A new term for `add`. Raises ValueError when there are too many."""
        if len(self._expires) >= MAX_TERMS:
            raise ValueError(f"more than {MAX_TERMS} different terms")
        self._expires.append(inf if expires is None else expires)
        self._places.append(self._metas.setdefault(meta, len(self._metas)))
        return len(self._expires) - 1

    def add(self, key: str, term: int) -> bool:
        """One target, KIND VALUE; False when the kind is not known here.

        Raises ValueError when the value is not in canonical form.
        """
        kind, _, value = key.partition(" ")
        if kind in ("ip", "cidr"):
            version, number, bits = network_number(value)
            if bits < _SHORTEST[version]:
                raise ValueError(f"{value!r} is wider than /{_SHORTEST[version]}: refused")
            self._networks.add(version, number, bits, term)
        elif kind in self._texts:
            self._texts[kind].append((self._hashed(value), term))
        elif kind == "agent":
            if len(self._agents) >= MAX_AGENTS:
                raise ValueError(f"more than {MAX_AGENTS} parts of user agents")
            split_key(key)
            self._agents.append((value, term))
        else:
            return False
        return True

    def add_rows(self, origin: str, rows: Mapping[str, str], term_of: Callable[[str], int]) -> list[str]:
        """Many targets of one origin: key -> text, `term_of` gives the term of a text and is called once for
        each. Returns the keys that cannot be read: one of them must not keep all the others from counting."""
        bad: list[str] = []
        terms: dict[str, int] = {}
        numbers, shift = self._networks.fours, self._networks.SHIFT4
        pack = int.from_bytes
        for key, text in rows.items():
            try:
                term = terms.get(text)
                if term is None:
                    term = terms[text] = term_of(text)
                if key.startswith("ip ") and ":" not in key:
                    # most rows, in a loop of a million: what `add` would do. inet_pton takes the canonical
                    # form alone
                    numbers.append((pack(inet_pton(AF_INET, key[3:])) << 6 | 32) << shift | term)
                elif not self.add(key, term):
                    bad.append(key)
            except (OSError, TypeError, ValueError):
                bad.append(key)
        self._origins[origin] = self._origins.get(origin, 0) + len(rows) - len(bad)
        return bad

    def sections(self, name: str) -> dict[str, bytes]:
        """The sections."""
        blobs = [msgpack.packb(meta) for meta in self._metas]
        offsets = array(U64, [0])
        for blob in blobs:
            offsets.append(offsets[-1] + len(blob))
        return {
            **self._networks.sections(f"{name}.net"),
            **build_hash_table(f"{name}.user", self._texts["user"]),
            **build_hash_table(f"{name}.token", self._texts["token"]),
            f"{name}.agent": msgpack.packb(self._agents[::-1]),
            f"{name}.origin": msgpack.packb(self._origins),
            f"{name}.expires": self._expires.tobytes(),
            f"{name}.first": array(F64, [min(self._expires, default=inf)]).tobytes(),
            f"{name}.meta": self._places.tobytes(),
            f"{name}.offset": offsets.tobytes(),
            f"{name}.data": b"".join(blobs),
        }
