"""External plugins: Kong's MessagePack-RPC to plugin servers, with its failure rules.

A frame is [0, id, method, [argument]], answered by [1, id, error, result]; [2, label, value] is a notice.
Instances are started at the first use of a config. A server that fails in StartInstance fails the request;
one that fails later is logged and the request passes without the plugin: that is Kong's behaviour.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from sandbox.cosocket import Connection, Pool, dial
from sandbox.lua_runtime import Lua
from sandbox.settings import PluginServer, Settings

log = logging.getLogger("sandbox.plugin")
_POLL_SECONDS = 0.1
_POLL_LIMIT = 100
_STEPS = {
    "kong.client.get_credential": "plugin.StepCredential",
    "kong.client.load_consumer": "plugin.StepConsumer",
    "kong.client.get_consumer": "plugin.StepConsumer",
    "kong.client.authenticate": "plugin.StepCredential",
    "kong.node.get_memory_stats": "plugin.StepMemoryStats",
    "kong.router.get_route": "plugin.StepRoute",
    "kong.router.get_service": "plugin.StepService",
    "kong.request.get_query": "plugin.StepMultiMap",
    "kong.request.get_headers": "plugin.StepMultiMap",
    "kong.response.get_headers": "plugin.StepMultiMap",
    "kong.service.response.get_headers": "plugin.StepMultiMap",
}
# the log event runs in a timer: calls that would ask nginx fail there, but for those that Kong saved before
_REQUEST_ONLY = ("kong.request.", "kong.service.", "kong.nginx.get_var", "kong.client.get_ip")
_SAVED = frozenset(
    {
        "kong.request.get_headers",
        "kong.request.get_header",
        "kong.request.get_uri_captures",
        "kong.service.response.get_status",
        "kong.service.response.get_headers",
    }
)
_BODY = frozenset({"kong.request.get_raw_body", "kong.request.get_body"})
_RAW = frozenset({"kong.request.get_raw_body", "kong.service.response.get_raw_body"})
_MULTI = frozenset(m for m, step in _STEPS.items() if step == "plugin.StepMultiMap")


class ServerError(Exception):
    """The server answered an error text, closed the connection, or was silent: the call gave nothing."""


class TableError(ServerError):
    """The server's error is no text: Kong trips over it, but not while it starts an instance."""


class BrokenProtocol(Exception):
    """An answer that Kong's code trips over: the request dies with 500."""


class _Exited(Exception):
    """The plugin answered the client: nothing more is sent for this event."""


class _Left(Exception):
    """A called function yielded: Kong drops the plugin's coroutine, and the request goes on."""


@dataclass
class _Instance:
    seq: int
    plugin_id: str
    id: Any = None


class Remote:
    """One plugin at its server's socket: message ids, calls and instances are its own."""

    def __init__(self, server: PluginServer, settings: Settings, pool: Pool) -> None:
        self.name = server.name
        self._address = f"unix:{server.socket}"
        self._pool = pool
        self._settings = settings
        self._message_id = 0
        self._server_pid: Any = None
        self.instances: dict[str, _Instance] = {}
        self._packer = msgpack.Packer(unicode_errors="surrogateescape")

    async def call(self, method: str, argument: Any) -> Any:
        """One exchange. Raises ServerError, BrokenProtocol."""
        self._message_id += 1
        message_id = self._message_id
        connection = self._pool.take(self._address)
        if connection is None:
            try:
                connection = await dial(self._address, None, self._settings.connect_timeout)
            except TimeoutError as e:
                raise ServerError("timeout") from e
            except OSError as e:
                raise ServerError(e.strerror or str(e)) from e
        connection.transport.write(self._packer.pack([0, message_id, method, [argument]]))
        unpacker = msgpack.Unpacker(
            unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=64 << 20
        )
        while True:
            message = await self._next(connection, unpacker)
            if not isinstance(message, list) or len(message) < 3:
                connection.abort()
                raise BrokenProtocol("RPC response expected from plugin server")
            if message[0] == 2:
                self._notified(message[1], message[2])
                continue
            if message[0] != 1 or message[1] != message_id:
                connection.abort()
                raise BrokenProtocol("unexpected RPC response ID from plugin server")
            self._keep(connection)
            error = message[2]
            if error is not None:
                if not isinstance(error, str):
                    raise TableError(f"error is no text: {error!r}")
                raise ServerError(error)
            return message[3] if len(message) > 3 else None

    async def _next(self, connection: Connection, unpacker: Any) -> Any:
        while True:
            try:
                return next(unpacker)
            except StopIteration:
                pass
            except (ValueError, msgpack.UnpackException) as e:
                connection.abort()
                raise BrokenProtocol(f"not MessagePack: {e}") from e
            if connection.buffer:
                unpacker.feed(bytes(connection.buffer))
                connection.buffer.clear()
            elif connection.closed:
                raise ServerError("no data")
            elif not await connection.more(self._settings.read_timeout):
                # Kong keeps the connection: a late answer meets the next request
                self._keep(connection)
                raise ServerError("no data")

    def _keep(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.buffer.clear()
        self._pool.put(connection, self._address, 60.0, 30)

    def _notified(self, label: Any, value: Any) -> None:
        if label == "serverPid":
            if self._server_pid is not None and value != self._server_pid:
                self.instances.clear()
            self._server_pid = value

    async def instance(self, plugin_id: str, seq: int, config: str) -> Any:
        """The server's id of this config; started if need be. Raises ServerError, BrokenProtocol."""
        claim = self.instances.get(plugin_id)
        waited = 0
        while claim is not None and claim.id is None:
            await asyncio.sleep(_POLL_SECONDS)
            waited += 1
            if waited > _POLL_LIMIT:
                self.instances.pop(plugin_id, None)
                raise TimeoutError(f"Could not claim instance_id for {self.name} (key: {plugin_id})")
            claim = self.instances.get(plugin_id)
        if claim is not None and claim.seq == seq:
            return claim.id
        old = claim.id if claim is not None else None
        if claim is None:
            claim = self.instances[plugin_id] = _Instance(seq, plugin_id)
        else:
            claim.id = None
        try:
            status = await self.call("plugin.StartInstance", {"Name": self.name, "Config": config})
            if not isinstance(status, dict) or status.get("Id") is None:
                raise ServerError("StartInstance gave no instance")
        except ServerError:
            self.instances.pop(plugin_id, None)
            raise
        claim.id, claim.seq = status["Id"], seq
        if old is not None:
            try:
                await self.call("plugin.CloseInstance", old)
            except ServerError as e:
                log.info("[%s] closing instance: %s", self.name, e)
        return claim.id

    def forget_instances(self) -> None:
        """The server knows none of them any more."""
        self.instances.clear()


class Externals:
    """All external plugins, driven for the Lua runloop."""

    def __init__(self, lua: Lua, settings: Settings) -> None:
        self._lua = lua
        self._remotes = {s.name: Remote(s, settings, lua.pool) for s in settings.pluginservers}
        self.config_of: Callable[[str], Mapping[str, Any]] = lambda plugin_id: {}
        lua.external = self.run
        lua.external_log = self.log

    async def run(self, r: Any, name: str, conf: Any, phase: str) -> tuple[str, Any]:
        """One event: `done`, `exit`, or `raise` and why."""
        try:
            await self._event(self._remotes[name], r, conf, phase)
        except _Exited:
            return "exit", None
        except _Left:
            return "done", None
        except BrokenProtocol as e:
            return "raise", str(e)
        return "done", None

    def log(self, r: Any, name: str, conf: Any) -> None:
        """The log event runs beside the next requests, as in Kong."""
        self._lua.spawn(self.run(r, name, conf, "log"))

    async def _event(self, remote: Remote, r: Any, conf: Any, phase: str) -> None:
        plugin_id, seq = conf["__plugin_id"], int(conf["__seq__"])
        for _ in range(10):  # a server that forgets at once must not keep us for ever
            try:
                config = json.dumps(self.config_of(plugin_id), ensure_ascii=False, separators=(",", ":"))
                instance = await remote.instance(plugin_id, seq, config.replace("/", "\\/"))
            except TimeoutError as e:
                log.error("[%s] %s", remote.name, e)
                return
            except ServerError as e:
                if "no plugin instance" in str(e).lower():
                    remote.forget_instances()
                    continue
                raise BrokenProtocol(f"starting instance: {e}") from e
            try:
                await self._steps(remote, r, conf, instance, phase)
            except TableError as e:
                raise BrokenProtocol(str(e)) from e
            except ServerError as e:
                if "no plugin instance" in str(e).lower():
                    log.warning("[%s] %s", remote.name, e)
                    remote.forget_instances()
                    continue
                log.error("[%s] %s", remote.name, e)
            return

    async def _steps(self, remote: Remote, r: Any, conf: Any, instance: Any, phase: str) -> None:
        reply = await remote.call("plugin.HandleEvent", {"InstanceId": instance, "EventName": phase})
        event_id = reply.get("EventId") if isinstance(reply, dict) else None
        while True:
            if reply is None:
                raise ServerError("no result")
            if not isinstance(reply, dict):
                raise BrokenProtocol("result is no map")
            data = reply.get("Data")
            if data == "ret":
                return
            if not isinstance(data, dict) or not isinstance(data.get("Method"), str):
                raise BrokenProtocol("neither a PDK call nor `ret`")
            method = data["Method"]
            args = data.get("Args")
            arguments = args if isinstance(args, list) else [] if args is None else [args]
            if phase == "log" and method.startswith(_REQUEST_ONLY) and method not in _SAVED:
                raise BrokenProtocol(f"{method}: API disabled in the current context")
            if method in _BODY and phase in ("rewrite", "access"):
                await self._lua.read_body(r)
            outcome, result = await self._lua.pdk(r, remote.name, conf, method, _cut(arguments))
            if outcome == "exit":
                raise _Exited
            if outcome == "left":
                raise _Left
            if outcome == "raise":
                raise BrokenProtocol(str(result))
            step: dict[str, Any] = {"EventId": event_id}
            value = self._lua.values.to_python(result, empty=list) if outcome == "ok" else None
            if outcome == "packed":
                packed = str(result).encode("latin-1")
                value = msgpack.unpackb(packed, unicode_errors="surrogateescape", strict_map_key=False)
            if method in _RAW and isinstance(value, str):
                value = value.encode("utf-8", "surrogateescape")  # Kong packs these as bin
            if value is not None:
                step["Data"] = _multi(value) if method in _MULTI else value
            reply = await remote.call(_STEPS.get(method, "plugin.Step"), step)


def _cut(args: list[Any]) -> list[Any]:
    # Lua's unpack stops at the first hole, and a table has no key whose value is nil
    return [_without_nil(value) for value in (args[: args.index(None)] if None in args else args)]


def _without_nil(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nil(v) for k, v in value.items() if v is not None}
    return [_without_nil(v) for v in value] if isinstance(value, list) else value


def _multi(value: Any) -> Any:
    if not isinstance(value, dict):
        return {}
    return {k: [] if v is True else [v] if isinstance(v, str) else v for k, v in value.items()}
