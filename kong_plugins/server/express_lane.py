"""The express lane: one message a request for the whole chain (docs/protocol.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kong_plugins.engine.lasting import Lasting, Varied
from kong_plugins.engine.verdict import in_order, unknown_ids
from kong_plugins.server.columns import batch_of_packed, pack_rows
from kong_plugins.server.decided import Decided, Later, wire_of
from kong_plugins.server.decider import ConfigError, Decider, UnknownConfig
from kong_plugins.server.frames import LATER, OWED, Connections, FrameProtocol, pack
from kong_plugins.server.leases import Leases
from kong_plugins.server.pdk_lane import RpcError, identifier
from kong_plugins.server.told import Told, numbered_frame

NUMBERED = frozenset({"M", "I", "m", "i"})
"""Questions of many requests on one connection; those in small letters are of adapters of before, which remember no
verdicts."""
BY_IDS, REMEMBERS = frozenset("Ii"), frozenset("MI")
TakeOutcomes = Callable[[str, int, bytes, list[Any]], object]
"""Takes a batch: its id, the rows dropped before it, the packed batch, batches that were given up (outcomes.py)."""

log = logging.getLogger("kgate.express")


def frame(reply: dict[str, Any]) -> bytes:
    """8 hexadecimal digits of length and the map: a cosocket reads a length before it reads a body."""
    body: bytes = pack(reply)
    return b"%08x" % len(body) + body


def is_number(value: Any) -> bool:
    """Of a question."""
    return type(value) is int and 0 <= value < 1 << 32


def number_of(message: list[Any]) -> Any:
    """What stands in a numbered question where its number should."""
    return message[3] if len(message) > 3 else None


class ExpressLane:
    """Answers the lane's requests; keeps nothing of its own."""

    def __init__(self, decider: Decider, take_outcomes: TakeOutcomes) -> None:
        self._decider = decider
        self._take_outcomes = take_outcomes
        self._operations: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
            "d": self._decide,
            "p": self._prepared,
            "o": self._outcome,
            "r": self._rows,
            "c": self._columns,
        }

    def handle(self, message: Any, told: Told | None = None) -> dict[str, Any] | bytes | None:
        """The reply to one request: a map, or the packed answer to a numbered question; None for what no adapter
        sends. told: of the connection; without it every verdict is sent in full. Raises Later."""
        if not isinstance(message, list) or not message or not isinstance(message[0], str):
            return None
        try:
            if message[0] in NUMBERED:
                return self._numbered(message, told)
            operation = self._operations.get(message[0])
            return {"e": "unknown operation"} if operation is None else operation(message)
        except (IndexError, TypeError, ValueError) as error:
            log.warning("express: malformed %s request: %s", message[0], error)
            return {"e": "malformed"}

    def _decide(self, message: list[Any]) -> dict[str, Any]:
        chain_hash, record = message[1], message[2]
        if not isinstance(chain_hash, str) or not isinstance(record, list):
            return {"e": "malformed"}
        if len(message) > 3:
            try:
                self._decider.register_chain(chain_hash, message[3])
            except ConfigError as error:
                log.error("express: %s", error)
                return {"e": "bad_config"}
        return in_order(self._decider.decide_chain(chain_hash, record))

    def _numbered(self, message: list[Any], told: Told | None) -> dict[str, Any] | bytes:
        operation, where, record, number, *configs = message
        if not isinstance(record, list) or not is_number(number):
            return {"e": "malformed"}
        chain = ""
        if operation in BY_IDS:
            if not where:
                return {"e": "malformed"}
            try:
                found = self._decider.find_by_ids([identifier(value) for value in where], record)
            except UnknownConfig:
                return unknown_ids(str(record[1]))
            except RpcError:
                return {"e": "malformed"}
        else:
            if not isinstance(where, str):
                return {"e": "malformed"}
            chain = where
            known = self._decider.find_by_chain(chain, record)
            if known is None and configs:
                try:
                    self._decider.register_chain(chain, configs[0])
                except ConfigError as error:
                    log.error("express: %s", error)
                    return {"e": "bad_config"}
                known = self._decider.find_by_chain(chain, record)
            if known is None:
                return {"e": "config"}
            found = known
        verdict, facts, _reason = found
        if told is not None and facts is not None and operation in REMEMBERS:
            if type(verdict) is Lasting:
                return told.frame(verdict, facts, chain, record[0], number)
            if type(verdict) is Varied:
                return told.varied_frame(verdict, facts, chain, record[0], number)
        return wire_of(found, record, chain)

    def _prepared(self, message: list[Any]) -> dict[str, Any]:
        found = self._decider.prepared(message[1])
        if "e" not in found or len(message) < 4:
            return found
        # another process of this server has decided, and knew the config
        try:
            self._decider.register(message[2], message[3])
        except ConfigError as error:
            log.error("express: %s", error)
            return found
        return self._decider.prepared(message[1])

    def _outcome(self, message: list[Any]) -> dict[str, Any]:
        return self._columns([*message[:3], pack_rows(message[3])])

    def _rows(self, message: list[Any]) -> dict[str, Any]:
        return self._columns([*message[:3], batch_of_packed(message[3]).pack(), *message[4:]])

    def _columns(self, message: list[Any]) -> dict[str, Any]:
        batch_id, dropped, batch, given_up = [*message[1:5], []][:4]
        if not isinstance(batch_id, str) or not isinstance(dropped, int) or not isinstance(batch, bytes):
            return {"e": "malformed"}
        if not isinstance(given_up, list) or [type(value) for value in given_up] != [str, int] * (
            len(given_up) // 2
        ):
            return {"e": "malformed"}
        self._take_outcomes(batch_id, dropped, batch, given_up)
        return {"k": "ok"}


class ExpressProtocol(FrameProtocol):
    """One connection of the express lane."""

    late_is_harmless = True

    def __init__(
        self, requests: ExpressLane, lane: str, home: Connections, leases: Leases | None = None
    ) -> None:
        super().__init__(lane, home)
        self._requests = requests
        self._told = Told(leases, self)

    def beat(self, data: bytes) -> bool:
        """See Holder."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    def answer(self, message: Any) -> bytes | None:
        try:
            reply = self._requests.handle(message, self._told)
        except Later as later:
            return self._later(message, later)
        if isinstance(reply, bytes):
            return reply
        if reply is None:
            return None
        if message[0] not in NUMBERED:
            return frame(reply)
        number = number_of(message)
        return numbered_frame(reply, number) if is_number(number) else None

    def _later(self, message: list[Any], later: Later) -> bytes | None:
        """Answer when Redis has; the others on the connection need not wait for it."""
        number = number_of(message)
        # the pdk lane knows its question by the number alone
        chain = {} if message[0] in BY_IDS else {"ch": message[1]}
        if message[0] not in NUMBERED:

            def reply(decided: Decided) -> None:
                self.reply(frame(in_order({**decided[1], **chain})))

            later.start(reply)
            return LATER
        if not is_number(number):
            return None
        since = self.owe()

        def pay(decided: Decided) -> None:
            self.pay(numbered_frame({**decided[1], **chain}, number), since)

        later.start(pay)
        return OWED
