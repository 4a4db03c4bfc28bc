"""Targets that changed since the image was built: what is new, and what of the image does not count any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kong_plugins.state.addresses import network_number
from kong_plugins.state.base import Block
from kong_plugins.state.target_table import TargetTable

Held = tuple[tuple[str, Block], ...]
"""(origin, block) of one target; see `target_table.py`."""


class TargetOverlay:
    """Filled once, from a copy of the one before, and not changed after it is in a snapshot."""

    def __init__(self, table: TargetTable) -> None:
        self._table = table
        # by (IP version, bits after the prefix), then by prefix
        self.networks: dict[tuple[int, int], dict[Any, Held]] = {}
        self.lengths: list[tuple[int, int]] = []
        self.texts: dict[str, dict[Any, Held]] = {"user": {}, "token": {}, "agent": {}}
        self._by_version: dict[int, list[tuple[int, dict[Any, Held]]]] = {4: [], 6: []}
        self.hidden: set[str] = set()
        self._hidden_entries: set[int] = set()
        self.hidden_origins: set[str] = set()
        self.count = 0

    def copy(self) -> TargetOverlay:
        """One that can be changed without this one."""
        made = TargetOverlay(self._table)
        made.networks = {length: dict(held) for length, held in self.networks.items()}
        made._sort()
        made.texts = {kind: dict(held) for kind, held in self.texts.items()}
        made.hidden, made.hidden_origins = set(self.hidden), set(self.hidden_origins)
        made._hidden_entries = set(self._hidden_entries)
        made.count = self.count
        return made

    def put(self, key: str, block: Block, origin: str = "") -> None:
        """Set a target. Raises ValueError when it cannot be read; nothing is changed then."""
        held, place = self._slot(key)
        old = held.get(place, ())
        kept = tuple(one for one in old if one[0] != origin)
        held[place] = (*kept, (origin, block)) if origin else ((origin, block), *kept)
        self.count += 1 - (len(old) - len(kept))
        self._hide(key, origin)

    def delete(self, key: str, origin: str = "") -> None:
        """Take a target away. Raises ValueError when it cannot be read."""
        held, place = self._slot(key)
        old = held.get(place, ())
        kept = tuple(one for one in old if one[0] != origin)
        if kept:
            held[place] = kept
        else:
            held.pop(place, None)
        self.count -= len(old) - len(kept)
        self._hide(key, origin)

    def delete_origin(self, origin: str) -> None:
        """Take away all targets of an imported set."""
        for held in (*self.networks.values(), *self.texts.values()):
            for place, old in list(held.items()):
                kept = tuple(one for one in old if one[0] != origin)
                self.count -= len(old) - len(kept)
                if kept:
                    held[place] = kept
                else:
                    del held[place]
        if origin in self._table.origins:
            self.hidden_origins.add(origin)

    def covering(self, version: int, number: int) -> Iterator[tuple[int, str, Block]]:
        """(prefix length, origin, block) of what holds the address, the narrowest first."""
        width = 32 if version == 4 else 128
        for length in self.lengths:
            if length[0] == version:
                for origin, block in self.networks[length].get(number >> length[1], ()):
                    yield width - length[1], origin, block

    def holds(self, version: int, number: int, now: float) -> bool:
        """Whether a live target of the overlay holds the address."""
        for shift, held in self._by_version[version]:
            found = held.get(number >> shift)
            if found is not None:
                for _, block in found:
                    if block.expires is None or now < block.expires:
                        return True
        return False

    def shows_entry(self, entry: int) -> bool:
        """`shows` of an entry of the image's networks."""
        if entry in self._hidden_entries:
            return False
        table = self._table
        return not self.hidden_origins or (
            table.meta(table.networks.terms[entry]).origin not in self.hidden_origins
        )

    def shows(self, origin: str, key: str) -> bool:
        """Whether an entry of the image still counts."""
        return origin not in self.hidden_origins if origin else key not in self.hidden

    @property
    def is_empty(self) -> bool:
        """Whether the image alone says the same."""
        return not (self.hides or any(self.networks.values()) or any(self.texts.values()))

    @property
    def hides(self) -> bool:
        """Whether anything of the image does not count any more."""
        return bool(self.hidden) or bool(self.hidden_origins)

    @property
    def hidden_count(self) -> int:
        """Entries of the image that do not count any more."""
        origins = self._table.origins
        return len(self.hidden) + sum(origins[origin] for origin in self.hidden_origins)

    def _hide(self, key: str, origin: str) -> None:
        if not origin and key not in self.hidden and self._table.holds(key):
            self.hidden.add(key)
            if key.startswith(("ip ", "cidr ")):
                self._hidden_entries.update(self._table.entries_of(key))

    def _sort(self) -> None:
        # the fewest bits after the prefix: the narrowest network first
        self.lengths = sorted(self.networks)
        for version, held in self._by_version.items():
            held[:] = [(length[1], self.networks[length]) for length in self.lengths if length[0] == version]

    def _slot(self, key: str) -> tuple[dict[Any, Held], int | str]:
        kind, _, value = key.partition(" ")
        if kind in self.texts:
            return self.texts[kind], value
        if kind not in ("ip", "cidr"):
            raise ValueError(f"{key!r}: kind {kind!r} is not known")
        version, number, bits = network_number(value)
        shift = (32 if version == 4 else 128) - bits
        length = (version, shift)
        if length not in self.networks:
            self.networks[length] = {}
            self._sort()
        return self.networks[length], number >> shift
