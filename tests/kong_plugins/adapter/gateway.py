"""One route behind the adapter: both handlers, gate plugins in a lane, and a service that does as told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgpack

from kong_plugins.engine.outcome import Outcome
from kong_plugins.server.columns import Batch, read_batch

from .peer import Scripted, framed

GATE = """
  local name, index, last, mode, fields = ...
  local gate = {}
  function gate.access()
    local rec = kong.ctx.shared.kgate
    if mode == "silent" then return end
    if mode == "error" then error("starting instance: no data") end
    if mode == "exit" then return kong.response.exit(401, "theirs", {
        ["Content-Type"] = "text/plain", ["X-Kgate-Reason"] = "token_missing" }) end
    local ids = { unpack(rec.ids) }
    ids[#ids + 1] = index
    if not last then
      kong.ctx.shared.kgate = { v = rec.v, f = rec.f, g = rec.g, ids = ids }
      return
    end
    local verdict = { v = 1, n = rec.f[2], ids = ids }
    for key, value in pairs(fields) do verdict[key] = value end
    if mode == "other request" then verdict.n = "another" end
    kong.ctx.shared.kgate = verdict
  end
  return gate
"""

# What Kong does for a plugin whose server has it call the adapter's own functions; `decide` plays the server. Neither
# function returns but to be asked.
DIRECT = """
  local name, id, mode, decide = ...
  local gate = {}
  function gate.access()
    if mode == "silent" then return end
    if mode == "error" then error("starting instance: no data") end
    kong.ctx.called = (kong.ctx.called or "") .. name .. " "
    local fake = package.loaded.fake
    fake.plugin_id = name
    local write = kong.kgate.step(id)
    local buffer = {}
    write(buffer)
    local verdict = decide(table.concat(buffer))
    if mode == "lost" then return end
    kong.kgate.verdict(verdict)
    error("an event went on")
  end
  return gate
"""

# The connection that the requests of a worker share, where there is one.
MUX = """
  local mp, packer = require "kong.plugins.kgate.mp", require "kong.plugins.kgate.facts"
  local fake = package.loaded.fake
  local is_there, modes, lost, decide = ...
  return function(path, ids, facts, n)
    if not is_there then return nil, "", true end
    assert(path == "/s" and ids.mux_head:sub(1, 3) == "\\x94\\xa1I")
    if modes[fake.plugin_id] == "lost" then
      lost(fake.plugin_id)
      return nil, "timeout", false
    end
    local answer = mp.decode(decide("\\x92" .. packer.packed(facts, n) .. ids.mux_head:sub(4)))
    if type(answer) ~= "table" then return nil, "bad answer", true end
    return answer
  end
"""

UPSTREAM = """
  local how = ...
  return function(ctx)
    if how.no_peer then
      return kong.response.exit(503, "failure to get a peer", {})
    end
    ctx.KONG_PROXIED = true
    ctx.KONG_UNEXPECTED = how.error
    ngx.status = how.status
    ngx.header["ETag"] = "old"
  end
"""


class Gateway:
    """`names` are the route's gate plugins; `modes` how each of them behaves (pdk lane)."""

    def __init__(self, world: Any, names: list[str], *, fail: str = "closed", **options: Any) -> None:
        self.world, self.names = world, names
        self.confs = world.table({name: {"fail": fail} for name in names})
        self.asked: list[Any] = []
        self.lost: list[bytes] = []  # by whom was asked what nobody answered
        world.lua.globals()[b"package"][b"loaded"][b"fake"] = world.fake
        self.own = world.table(
            {
                "kgate": {"socket": "/s", "strip": options.get("strip", ["X-Passport"])},
                "kgate-facts": {"socket": "/s", "headers": ["authorization"]},
            }
        )
        self.adapter = ["kgate-facts", "kgate"] if options.get("with_facts", True) else ["kgate"]
        self.route = world.table({"id": "R", "name": "route", "tags": options.get("tags", [])})
        self.service = world.table({"id": "S", "name": "service"})
        # one configuration: the plugin table must stay the same over requests
        self.ctx = world.fake[b"ctx"](self.route, self.service, self.confs, self.own)

    def without_guard(self, with_facts: bool) -> None:
        """Only kgate-facts of the adapter is enabled, or nothing of it."""
        self.adapter = ["kgate-facts"] if with_facts else []

    def _gate(self, lane: str, modes: dict[str, str], fields: dict[str, Any]) -> list[Any]:
        world, entries = self.world, []
        if lane == "direct":
            self._connect(modes, self._server(fields))
        for index, name in enumerate(self.names, 1):
            if lane == "express":
                handler = world.module(f"{name}.handler")._table
            elif lane == "direct":
                self.confs[name.encode()][b"__plugin_id"] = name.encode()
                mode, own = modes.get(name, "good"), self.ids.get(name, index)
                handler = world.run(DIRECT, name.encode(), own, mode.encode(), self._server(fields))
            else:
                mode = modes.get(name, "good")
                args = (name.encode(), index, index == len(self.names), mode.encode(), world.table(fields))
                handler = world.run(GATE, *args)
            entries.append(world.table([name, handler, self.confs[name.encode()]]))
        return entries

    ids: Mapping[str, int] = {}
    """Of the gate plugins' configs, where these are not their places (direct)."""
    connection = False
    """Whether there is a connection that many requests share, on which the adapter asks (direct)."""

    def _connect(self, modes: dict[str, str], decide: Any) -> None:
        mux = self.world.module("kgate.mux")._table
        mux[b"ask"] = self.world.run(MUX, self.connection, self.world.table(modes), self.lost.append, decide)

    def _server(self, fields: dict[str, Any]) -> Any:
        """The plugin server of the direct lane: what it is asked is in `asked`, `fields` are its verdict's."""

        def decide(packed: bytes) -> bytes:
            self.asked.append(msgpack.unpackb(packed, unicode_errors="surrogateescape"))
            if "raw" in fields:
                return bytes(fields["raw"])
            verdict = {"v": 1, "n": self.asked[-1][0][1], **fields}
            return bytes(msgpack.packb(verdict, unicode_errors="surrogateescape"))

        return decide

    def request(
        self,
        *,
        lane: str = "pdk",
        modes: dict[str, str] | None = None,
        fields: dict[str, Any] | None = None,
        after: Any = None,
        upstream: dict[str, Any] | None = None,
        **request: Any,
    ) -> tuple[int, str]:
        """Run one request; returns status and body (of the gateway's or a plugin's answer, else "")."""
        world = self.world
        world.request(**request)
        ngx = world.lua.globals()[b"ngx"]
        for key, value in self.ctx.items():
            ngx[b"ctx"][key] = value
        plugins = [world.table([name, world.module(f"{name}.handler")._table, self.own[name.encode()]])
                   for name in self.adapter]  # fmt: skip
        at = self.adapter.index("kgate") if "kgate" in self.adapter else len(plugins)
        plugins[at:at] = self._gate(lane, modes or {}, fields or {})
        if after is not None:
            plugins.append(world.table(["later", after, {}]))
        service = world.run(UPSTREAM, world.table(upstream)) if upstream else None
        status, body = self._phases(world.lua.table_from(plugins), service)
        return status, (body or b"").decode()

    def _phases(self, plugins: Any, service: Any) -> tuple[int, bytes | None]:
        status, body = self.world.fake[b"phases"](plugins, service)
        return status, body

    @property
    def response_headers(self) -> dict[str, Any]:
        return self.world.py(self.world.fake[b"response_headers"]())

    @property
    def reached(self) -> int:
        return self.world.fake[b"reached"] or 0

    @property
    def log(self) -> dict[str, Any]:
        """What was told to Kong's log record under `kgate`."""
        found = [entry[2] for entry in self.world.fake[b"serialize"].values() if entry[1] == b"kgate"]
        return self.world.py(found[-1]) if found else {}

    def batch(self) -> Batch:
        """Flush the outcomes: those that wait."""
        script = Scripted(self.world, [])
        self.world.fake[b"dials"] = 0
        script.connections.append({"answer": framed({"k": "ok"})})
        self.world.module("kgate.outcomes").flush(False)
        return read_batch(msgpack.unpackb(script.sent()[-1])[3])

    def outcome(self) -> Outcome:
        """The last of them."""
        return self.batch().outcomes()[-1]

    def verdict(self, **fields: Any) -> dict[str, Any]:
        """An express verdict on the request with the id rid1; fields that are None are left out."""
        material = "".join(f"{name}\0{self._json(name)}\0" for name in self.names)
        answer = {"v": 1, "n": "rid1", "ch": hashlib.md5(material.encode()).hexdigest(), **fields}
        return {key: value for key, value in answer.items() if value is not None}

    def _json(self, name: str) -> str:
        return json.dumps(self.world.py(self.confs[name.encode()]), separators=(",", ":"))


def serve(world: Any, *answers: Any) -> Scripted:
    """The express server's next answers, a connection each: a map, or the name of an error."""
    world.fake[b"dials"] = 0
    connections: list[dict[str, Any]] = []
    for answer in answers:
        if isinstance(answer, dict):
            connections.append({"answer": framed(answer)})
        else:
            connections.append({"connect": answer} if answer == "refused" else {"end": answer})
    return Scripted(world, connections)
