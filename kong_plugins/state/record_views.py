"""Small collections as filters ask for them: records of an image, decoded when asked for, and those since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import msgpack

from kong_plugins.state.breakers import BreakerOverride
from kong_plugins.state.fallbacks import Forced
from kong_plugins.state.records import Record

T = TypeVar("T")
Newer = Mapping[str, T | None]
"""What was set since the image, None for what was removed."""


def pack_record(record: Record) -> bytes:
    """A record as bytes, without its collection and key. Raises ValueError or TypeError for no JSON."""
    packed: bytes = msgpack.packb(record[2:])
    return packed


def unpack_record(collection: str, key: str, packed: bytes) -> Record:
    """The record of `pack_record`. Raises ValueError or TypeError."""
    return Record(collection, key, *msgpack.unpackb(packed, strict_map_key=False))


class RecordView(Mapping[str, T], Generic[T]):
    """Records by key, as what `decode` makes of them. Ended ones are there too: look at `expires`."""

    __slots__ = ("_collection", "_decode", "_made", "_newer", "_packed")

    def __init__(
        self,
        collection: str,
        packed: Mapping[str, bytes],
        decode: Callable[[Record], T],
        newer: Newer[T] | None = None,
    ) -> None:
        self._collection, self._packed, self._decode = collection, packed, decode
        self._newer = newer or {}
        self._made: dict[str, T] = {}

    def get(self, key: str, default: Any = None) -> Any:
        """The record of a key, else `default`."""
        if self._newer and key in self._newer:
            found = self._newer[key]
            return default if found is None else found
        made = self._made.get(key)
        if made is not None:
            return made
        packed = self._packed.get(key)
        if packed is None:
            return default
        made = self._made[key] = self._decode(unpack_record(self._collection, key, packed))
        return made

    def __getitem__(self, key: str) -> T:
        found: T | None = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        if key in self._newer:
            return self._newer[key] is not None  # type: ignore[index] # it is in it
        return key in self._packed

    def __iter__(self) -> Iterator[str]:
        newer = self._newer
        yield from (key for key in self._packed if key not in newer)
        yield from (key for key, value in newer.items() if value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return bool(self._packed or self._newer)

    def __eq__(self, other: object) -> bool:
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment] # as a dict


class FallbackView:
    """Forced fallbacks; `records` holds all of them."""

    __slots__ = ("records",)

    def __init__(self, records: RecordView[Forced]) -> None:
        self.records = records

    def forced(self, tenant: str | None, service: str | None, route: str | None, now: float) -> Forced | None:
        """The live one of the route, else of the service, else of the tenant."""
        records = self.records
        if not records:
            return None
        for scope, name in (("route", route), ("service", service), ("tenant", tenant)):
            if name:
                found: Forced | None = records.get(f"{scope} {name}")
                if found is not None and (found.expires is None or now < found.expires):
                    return found
        return None


class BreakerView:
    """Breakers that an operator holds; `records` holds all overrides, resets too."""

    __slots__ = ("records",)

    def __init__(self, records: RecordView[BreakerOverride]) -> None:
        self.records = records

    def forced(
        self, service: str | None, route: str | None, now: float, tenant: str | None = None
    ) -> str | None:
        """ "open" or "closed" by the live override of the route, else the service, the tenant, all; else None."""
        records = self.records
        if not records:
            return None
        for scope, name in (("route", route), ("service", service), ("tenant", tenant), ("*", "*")):
            if name:
                key = name if scope == "*" else f"{scope} {name}"
                found: BreakerOverride | None = records.get(key)
                if (
                    found is not None
                    and found.state != "reset"
                    and (found.expires is None or now < found.expires)
                ):
                    return found.state
        return None
