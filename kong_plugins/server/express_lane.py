"""The express lane: one message a request for the whole chain (docs/protocol.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kong_plugins.engine.verdict import in_order, unknown_ids
from kong_plugins.server.decider import ConfigError, Decided, Decider, Later, UnknownConfig
from kong_plugins.server.frames import LATER, OWED, Connections, FrameProtocol, pack
from kong_plugins.server.outcomes import pack_rows
from kong_plugins.server.pdk_lane import RpcError, identifier

NUMBERED = frozenset({"m", "i"})
"""Questions of many requests on one connection."""
TakeOutcomes = Callable[[str, int, bytes], object]
"""Takes a batch: its id, the rows dropped before it, the packed rows (outcomes.py)."""

log = logging.getLogger("kgate.express")


def frame(reply: dict[str, Any]) -> bytes:
    """8 hexadecimal digits of length and the map: a cosocket reads a length before it reads a body."""
    body: bytes = pack(reply)
    return b"%08x" % len(body) + body


def numbered_frame(reply: dict[str, Any], number: int) -> bytes:
    """4 bytes of length and the map with the question's number `q`: on a connection that many requests share. The
    request's id and the number stand last, so that the adapter can look up the rest."""
    in_order(reply)["q"] = number
    body: bytes = pack(reply)
    return len(body).to_bytes(4, "big") + body


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


class ExpressLane:
    """Answers the lane's requests; keeps nothing of its own."""

    def __init__(self, decider: Decider, take_outcomes: TakeOutcomes) -> None:
        self._decider = decider
        self._take_outcomes = take_outcomes
        self._operations: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
            "d": self._decide,
            "m": self._decide_numbered,
            "i": self._decide_ids,
            "p": self._prepared,
            "o": self._outcome,
            "r": self._rows,
        }

    def handle(self, message: Any) -> dict[str, Any] | None:
        """The reply to one request; None for what no adapter sends. Raises Later."""
        if not isinstance(message, list) or not message or not isinstance(message[0], str):
            return None
        operation = self._operations.get(message[0])
        if operation is None:
            return {"e": "unknown operation"}
        try:
            return operation(message)
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

    def _decide_numbered(self, message: list[Any]) -> dict[str, Any]:
        chain_hash, record, _number = message[1:]
        if not isinstance(chain_hash, str) or not isinstance(record, list):
            return {"e": "malformed"}
        return self._decider.decide_chain(chain_hash, record)

    def _decide_ids(self, message: list[Any]) -> dict[str, Any]:
        """The pdk lane's question: its chain is named by config ids."""
        ids, record, _number = message[1:]
        if not ids or not isinstance(record, list):
            return {"e": "malformed"}
        try:
            return self._decider.decide_ids([identifier(value) for value in ids], record)[1]
        except UnknownConfig:
            return unknown_ids(str(record[1]))
        except RpcError:
            return {"e": "malformed"}

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
        return self._rows([*message[:3], pack_rows(message[3])])

    def _rows(self, message: list[Any]) -> dict[str, Any]:
        batch_id, dropped, rows = message[1:4]
        if not isinstance(batch_id, str) or not isinstance(dropped, int) or not isinstance(rows, bytes):
            return {"e": "malformed"}
        self._take_outcomes(batch_id, dropped, rows)
        return {"k": "ok"}


class ExpressProtocol(FrameProtocol):
    """One connection of the express lane."""

    late_is_harmless = True

    def __init__(self, requests: ExpressLane, lane: str, home: Connections) -> None:
        super().__init__(lane, home)
        self._requests = requests

    def answer(self, message: Any) -> bytes | None:
        try:
            reply = self._requests.handle(message)
        except Later as later:
            return self._later(message, later)
        if reply is None:
            return None
        if message[0] not in NUMBERED:
            return frame(reply)
        number = message[-1]
        return numbered_frame(reply, number) if _is_number(number) else None

    def _later(self, message: list[Any], later: Later) -> bytes | None:
        """Answer when Redis has; the others on the connection need not wait for it."""
        number = message[-1]
        # the pdk lane knows its question by the number alone
        chain = {} if message[0] == "i" else {"ch": message[1]}
        if message[0] not in NUMBERED:

            def reply(decided: Decided) -> None:
                self.reply(frame(in_order({**decided[1], **chain})))

            later.start(reply)
            return LATER
        if not _is_number(number):
            return None
        since = self.owe()

        def pay(decided: Decided) -> None:
            self.pay(numbered_frame({**decided[1], **chain}, number), since)

        later.start(pay)
        return OWED
