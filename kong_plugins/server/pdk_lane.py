"""The pdk lane as adapters of the version before speak it (today's: direct_lane.py): Kong's external plugins over its
own MessagePack-RPC, without per-request state.

    Kong                       server
    HandleEvent(InstanceId) -> "get kong.ctx.shared.kgate"      EventId = InstanceId = config id
    Step(record)            -> "set kong.ctx.shared.kgate" (+ id, or the verdict), or "exit"
    Step()                  -> "ret"

The last of a route's plugins has the ids of all and decides. From then on the adapter knows them and puts them
into the record (`k`): the first plugin decides, and for the others it is "get", then "ret".

Kong echoes the EventId of the first reply in every step of the event, so each message tells all that is
needed to answer it, and any process can.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from kong_plugins.engine.facts import PROTOCOL
from kong_plugins.engine.plugin import plugin_info
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.engine.verdict import Pairs, Verdict
from kong_plugins.server.decided import Decided, Later
from kong_plugins.server.decider import ConfigError, Decider, UnknownConfig
from kong_plugins.server.frames import LATER, Connections, FrameProtocol, pack

log = logging.getLogger("kgate.pdk")

RECORD = "kgate"
REASON_HEADER = "X-Kgate-Reason"
MEMO_HEADER = "X-Kgate-Memo"
"""For Kong's log and the outcome; the adapter takes them away before the client sees them."""
_GET = {"Method": "kong.ctx.shared.get", "Args": [RECORD]}
RET = "ret"
_ID_LIMIT = 2**53
"""Ids have 52 bits; from here on a Lua number is no exact integer."""


class RpcError(Exception):
    """Goes back to Kong as the error of the call. It must be text: Kong dies on anything else."""


def _set(record: dict[str, Any]) -> dict[str, Any]:
    return {"Method": "kong.ctx.shared.set", "Args": [RECORD, record]}


def exit_args(verdict: Verdict) -> list[Any]:
    """Arguments of kong.response.exit. No None among them: it would cut the rest."""
    return [verdict.status, verdict.body, header_map(verdict.headers)]


def header_map(headers: Pairs) -> dict[str, Any]:
    """Kong's form of headers: one value as text, several as a list."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def identifier(value: Any) -> int:
    """An id that went through Lua: a number, which may come back as a float."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value < _ID_LIMIT:
        raise RpcError(f"no plugin instance {value!r:.80}")
    return value


class Pending(Exception):
    """A verdict of these configs that comes later."""

    def __init__(self, later: Later, ids: list[int]) -> None:
        super().__init__()
        self.later, self.ids = later, ids


Announce = Callable[[str, str, Callable[[], None]], None]
"""Tells all processes of a config (plugin, JSON) and calls back when they know it."""


class PdkLane:
    """Answers RPC calls; keeps nothing of its own.

    announce: how the other processes learn of a config before its StartInstance is answered; None: there are none.
    """

    def __init__(self, decider: Decider, announce: Announce | None = None) -> None:
        self._decider = decider
        self._announce = announce
        self._announced: set[int] = set()

    def announce(self, request: dict[str, Any], instance_id: int, done: Callable[[], None]) -> bool:
        """Tell the other processes of a started instance; False when they know it (`done` is not called)."""
        if self._announce is None or instance_id in self._announced:
            return False

        def known() -> None:
            self._announced.add(instance_id)
            done()

        self._announce(request["Name"], request["Config"], known)
        return True

    def call(self, method: str, args: list[Any]) -> Any:
        """The result of one call. Raises RpcError with the text for Kong, and Pending for a verdict that comes
        later."""
        if method == "plugin.HandleEvent":
            return self._handle_event(args[0])
        if method.startswith("plugin.Step"):
            return self._step(args[0])
        if method == "plugin.StartInstance":
            return self._start_instance(args[0])
        if method == "plugin.CloseInstance":
            # another Kong worker may use the same content: configs leave by age alone
            return {"Id": args[0]}
        if method == "plugin.GetPluginInfo" and args and args[0] in PLUGINS:
            return plugin_info(args[0])
        if method == "plugin.GetStatus":
            return {"Pid": os.getpid(), "Plugins": list(PLUGINS), "Decisions": self._decider.tally.decisions}
        raise RpcError(f"unknown method {method[:80]}")

    def _start_instance(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["Name"]
        try:
            known = self._decider.register_any(name, request["Config"])
        except ConfigError as error:
            log.error("config refused: %s", error)
            raise RpcError(str(error)) from error
        return {"Name": name, "Id": known.id, "Config": {}, "StartTime": time.time()}

    def _handle_event(self, event: dict[str, Any]) -> dict[str, Any]:
        known = self._known(event["InstanceId"])
        data: Any = self._first(known) if event.get("EventName") == "access" else RET
        return {"Data": data, "EventId": known}

    def _first(self, _instance_id: int) -> Any:
        """What Kong is to call first in an event of this config."""
        return _GET

    def _known(self, value: Any) -> int:
        instance_id = identifier(value)
        try:
            self._decider.config(instance_id)
        except UnknownConfig as error:
            raise RpcError(str(error)) from error
        return instance_id

    def _step(self, step: dict[str, Any]) -> dict[str, Any]:
        event_id = identifier(step["EventId"])
        return {"Data": self._next(event_id, step.get("Data")), "EventId": event_id}

    def _next(self, event_id: int, record: Any) -> Any:
        if not isinstance(record, dict) or "f" not in record:
            if (
                isinstance(record, dict)
                and "ids" in record
                and event_id not in map(identifier, record["ids"])
            ):
                # decided with another config of this plugin: no verdict
                return _set({"v": PROTOCOL, "n": record.get("n", ""), "e": "other_config"})
            return RET  # the verdict was set; or there is no adapter, and so nothing to fill
        names, facts = list(record["g"]), record["f"]
        plugin = self._decider.config(self._known(event_id)).plugin
        known = [identifier(value) for value in record.get("k") or ()]
        if len(known) == len(names) and plugin in names and known[names.index(plugin)] == event_id:
            # not known: a new server, and Kong has not started all there yet
            with contextlib.suppress(UnknownConfig):
                return self._verdict(known, facts)
        ids = [*map(identifier, record["ids"]), event_id]
        if names[: len(ids)][-1:] != [plugin]:
            # a plugin before this one failed: no verdict, the guard gives the route's fail answer
            return RET
        if len(ids) < len(names):
            return _set({"v": PROTOCOL, "f": facts, "g": names, "ids": ids})
        try:
            return self._verdict(ids, facts)
        except UnknownConfig as error:
            # of a plugin before this one: the server was restarted within the request. As an error it would have Kong
            # start this plugin again and again, which changes nothing
            log.error("a gate plugin of the request has no instance here: %s", error)
            return _set({"v": PROTOCOL, "n": facts[1], "e": "other_server"})

    def _verdict(self, ids: list[int], facts: list[Any]) -> Any:
        """The message that brings the verdict of these configs. Raises UnknownConfig and Pending."""
        try:
            decided = self._decider.decide_ids(ids, facts)
        except Later as later:
            raise Pending(later, ids) from later
        return self.message(ids, decided)

    def message(self, ids: list[int], decided: Decided) -> Any:
        """What Kong is to call with a verdict: an answer to the client, or the record with its effects."""
        return verdict_message(ids, decided)


def verdict_message(ids: list[int], decided: Decided) -> Any:
    """The message that brings a verdict to Kong: an answer to the client, or the record with its effects."""
    verdict, wire = decided
    # a 200 goes by the guard, which takes If-Match away first: nginx would judge it and not answer at all
    if verdict is not None and verdict.is_exit and verdict.status != 200:
        told = verdict._replace(headers=(*verdict.headers, (REASON_HEADER, verdict.reason)))
        if verdict.memo:
            told = told._replace(headers=(*told.headers, (MEMO_HEADER, verdict.memo)))
        return {"Method": "kong.response.exit", "Args": exit_args(told)}
    if verdict is not None:
        wire["ids"] = ids  # without a verdict the guard must miss them
    return _set(wire)


class PdkProtocol(FrameProtocol):
    """One connection of Kong to a plugin's socket."""

    def __init__(self, calls: PdkLane, lane: str, home: Connections) -> None:
        super().__init__(lane, home)
        self._calls = calls

    def answer(self, message: Any) -> bytes | None:
        if not isinstance(message, list) or len(message) != 4 or message[0] != 0:
            return None
        _, message_id, method, args = message
        if not isinstance(method, str) or not isinstance(args, list):
            return None
        try:
            result = self._calls.call(method, args)
        except RpcError as error:
            return bytes(pack([1, message_id, str(error), None]))
        except Pending as pending:
            ids, event_id = pending.ids, args[0]["EventId"]

            def reply_verdict(decided: Decided) -> None:
                told = {"Data": self._calls.message(ids, decided), "EventId": identifier(event_id)}
                self.reply(bytes(pack([1, message_id, None, told])))

            pending.later.start(reply_verdict)
            return LATER
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            log.warning("malformed call %s: %r", method[:80], error)
            return bytes(pack([1, message_id, f"malformed call {method[:80]}", None]))
        reply = bytes(pack([1, message_id, None, result]))
        if method == "plugin.StartInstance" and self._calls.announce(
            args[0], result["Id"], lambda: self.reply(reply)
        ):
            return LATER
        return reply
