"""The express lane: one message a request for the whole chain (docs/protocol.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kong_plugins.server.decider import ConfigError, Decider
from kong_plugins.server.frames import Connections, FrameProtocol, pack

TakeOutcomes = Callable[[str, int, list[Any]], object]
"""Takes a batch: its id, the rows dropped before it, the rows."""

log = logging.getLogger("kgate.express")


def frame(reply: dict[str, Any]) -> bytes:
    """8 hexadecimal digits of length and the map: a cosocket reads a length before it reads a body."""
    body: bytes = pack(reply)
    return b"%08x" % len(body) + body


class ExpressLane:
    """Answers the lane's requests; keeps nothing of its own."""

    def __init__(self, decider: Decider, take_outcomes: TakeOutcomes) -> None:
        self._decider = decider
        self._take_outcomes = take_outcomes
        self._operations: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
            "d": self._decide,
            "p": self._prepared,
            "o": self._outcome,
        }

    def handle(self, message: Any) -> dict[str, Any] | None:
        """The reply to one request; None for what no adapter sends."""
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
        return self._decider.decide_chain(chain_hash, record)

    def _prepared(self, message: list[Any]) -> dict[str, Any]:
        return self._decider.prepared(message[1])

    def _outcome(self, message: list[Any]) -> dict[str, Any]:
        batch_id, dropped, rows = message[1:4]
        if not isinstance(batch_id, str) or not isinstance(dropped, int) or not isinstance(rows, list):
            return {"e": "malformed"}
        self._take_outcomes(batch_id, dropped, rows)
        return {"k": "ok"}


class ExpressProtocol(FrameProtocol):
    """One connection of the express lane."""

    def __init__(self, requests: ExpressLane, lane: str, home: Connections) -> None:
        super().__init__(lane, home)
        self._requests = requests

    def answer(self, message: Any) -> bytes | None:
        reply = self._requests.handle(message)
        return None if reply is None else frame(reply)
