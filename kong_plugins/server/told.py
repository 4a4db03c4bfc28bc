"""The verdicts that the other side of one connection remembers, so that they are sent once (docs/protocol.md)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from kong_plugins.engine.facts import Facts
from kong_plugins.engine.lasting import Lasting, Varied
from kong_plugins.engine.verdict import in_order, to_wire, variation
from kong_plugins.server.frames import pack
from kong_plugins.server.leases import Given, Holder, Leases, beat_of

SLOTS = 1024
"""Verdicts of a connection; the oldest one's slot is used again."""
_ID_SIZE = 32
"""Characters of Kong's request ids; others' verdicts are sent in full."""
_NUMBER = b"\xa1q\xce"
_SIZE = 8 + 4 + _ID_SIZE + len(_NUMBER) + 4

_Key = tuple[Any, ...]
"""Which verdict, by its identity, chain, tenant and protocol; a user's that may have a lease also by route, service
and address: the same verdict may have another lease there. Without a user a verdict is everybody's, and has none."""


class _Kept(NamedTuple):
    """A verdict that has a slot, and what was last said of its lease: of which epoch, and until when that holds."""

    verdict: Lasting
    slot: int
    short: bytes
    epoch: int
    until: float


def numbered_frame(reply: dict[str, Any], number: int) -> bytes:
    """4 bytes of length and the map with the question's number `q`: on a connection that many requests share. The
    request's id and the number stand last."""
    in_order(reply)["q"] = number
    body: bytes = pack(reply)
    return len(body).to_bytes(4, "big") + body


_NEVER = Given(0, 0, math.inf)


class Told:
    """Of one connection. A verdict is known by its identity, and is held as long as it has a slot.

    leases: gives the verdicts' leases to `holder`; without them there are none.
    """

    __slots__ = ("_holder", "_kept", "_keys", "_leases", "_next")

    def __init__(self, leases: Leases | None = None, holder: Holder | None = None) -> None:
        self._kept: dict[_Key, _Kept] = {}
        self._keys: list[_Key] = []  # by slot
        self._next = 0
        self._leases, self._holder = leases, holder

    def frame(self, verdict: Lasting, facts: Facts, chain: str, protocol: int, number: int) -> bytes:
        """The answer to question `number`: the verdict and a slot for it, or the slot alone when it was told before.
        Where the verdict has a lease that was not told, a beat and the lease with it. chain: the hash that was asked,
        "" for none."""
        request_id = facts.request_id
        leases = self._leases if chain and verdict.identity is not None else None
        key: _Key
        if leases is None:
            key = (id(verdict), chain, facts.tenant, protocol)
        else:
            key = (id(verdict), chain, facts.tenant, protocol, facts.route, facts.service, facts.ip)
        kept = self._kept.get(key)
        if not _is_usual(request_id):
            return numbered_frame(self._wire(verdict, key, facts), number)
        if kept is not None and (
            leases is None or (kept.epoch == leases.epoch and leases.clock() < kept.until)
        ):
            return kept.short + request_id.encode() + _NUMBER + number.to_bytes(4, "big")
        given = _NEVER
        if leases is not None and self._holder is not None:
            given = leases.give(self._holder, chain, facts, verdict)
        if kept is None:
            wire = self._wire(verdict, key, facts, given)
        else:
            self._kept[key] = kept._replace(epoch=given.epoch, until=given.until)
            wire = {"r": kept.slot, "n": request_id}
        if not given.milliseconds:
            return numbered_frame(wire, number)
        wire["l"] = [given.milliseconds, given.epoch]
        return beat_of(given.epoch) + numbered_frame(wire, number)

    def varied_frame(self, verdict: Varied, facts: Facts, chain: str, protocol: int, number: int) -> bytes:
        """The same for a verdict with something of the request in it, which is sent beside the slot."""
        key = (id(verdict.base), chain, facts.tenant, protocol)
        own = variation(verdict, verdict.base)
        if own is None or not _is_usual(facts.request_id):
            return numbered_frame(to_wire(verdict, facts.request_id, facts.tenant, protocol, chain), number)
        kept = self._kept.get(key)
        if kept is not None:
            return numbered_frame({"r": kept.slot, "x": own, "n": facts.request_id}, number)
        return numbered_frame({**self._wire(verdict.base, key, facts), "x": own}, number)

    def _wire(self, verdict: Lasting, key: _Key, facts: Facts, given: Given = _NEVER) -> dict[str, Any]:
        _, chain, tenant, protocol = key[:4]
        wire = to_wire(verdict, facts.request_id, tenant, protocol, chain)
        if _is_usual(facts.request_id):
            wire["d"] = self._keep(key, verdict, given)
        return wire

    def _keep(self, key: _Key, verdict: Lasting, given: Given) -> int:
        slot = self._next
        self._next = (slot + 1) % SLOTS
        if slot == len(self._keys):
            self._keys.append(key)
        else:
            del self._kept[self._keys[slot]]
            self._keys[slot] = key
        # {r: slot, n: a text of 32 bytes, q: number}
        head = b"\x83\xa1r\xce" + slot.to_bytes(4, "big") + b"\xa1n\xd9" + bytes((_ID_SIZE,))
        self._kept[key] = _Kept(verdict, slot, _SIZE.to_bytes(4, "big") + head, given.epoch, given.until)
        return slot


def _is_usual(request_id: str) -> bool:
    return len(request_id) == _ID_SIZE and request_id.isascii()
