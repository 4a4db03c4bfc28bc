"""The express lane: one message a request for the whole chain (docs/protocol.md)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kong_plugins.server.decider import ConfigError, Decider
from kong_plugins.server.frames import FrameProtocol, pack
from kong_plugins.server.outcomes import Outcomes

log = logging.getLogger("kgate.express")


def frame(reply: dict[str, Any]) -> bytes:
    """8 hexadecimal digits of length and the map: a cosocket reads a length before it reads a body."""
    body: bytes = pack(reply)
    return b"%08x" % len(body) + body


class ExpressLane:
    """Answers the lane's requests; keeps nothing of its own."""

    def __init__(self, decider: Decider, outcomes: Outcomes) -> None:
        self._decider = decider
        self._outcomes = outcomes
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
        except (IndexError, TypeError) as error:
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
        self._outcomes.take(message[1], message[2], message[3])
        return {"k": "ok"}


class ExpressProtocol(FrameProtocol):
    """One connection of the express lane."""

    def __init__(self, lane: ExpressLane, connections: set[FrameProtocol]) -> None:
        super().__init__(connections)
        self._lane = lane

    def answer(self, message: Any) -> bytes | None:
        reply = self._lane.handle(message)
        return None if reply is None else frame(reply)
