"""A route behind the adapter whose worker asks on connections that its requests share, in simulated time. The other
end is what the plugin server gives leases and beats with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from kong_plugins.engine.facts import Facts, Identity, parse_facts
from kong_plugins.engine.lasting import Lasting, lasting
from kong_plugins.engine.lease import Condition, Lease
from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.verdict import Verdict
from kong_plugins.server.columns import Batch, read_batch
from kong_plugins.server.leases import Leases
from kong_plugins.server.told import Told

from .gateway import Gateway
from .peer import flat, framed

FOUR = ["abuse-guard", "passport", "canary-router", "static-fallback"]
THREADS = (Path(__file__).parent / "threads.lua").read_bytes()
# The connections that requests share are those of threads.lua, all others `alone`.
SOCKETS = """
  local alone = ...
  local shared = ngx.socket.tcp
  ngx.socket.tcp = function()
    local sock, times = {}, nil
    function sock.settimeouts(_, ...) times = { ... } end
    function sock.connect(_, path, options)
      local one = options and options.pool == "kgate-mux" and shared() or alone()
      setmetatable(sock, { __index = function(_, name)
        return function(_, ...) return one[name](one, ...) end
      end })
      one:settimeouts(unpack(times))
      return one:connect(path, options)
    end
    return sock
  end
"""
GO = "local threads, f, plugins, service, done = ... threads.go(function() done(f(plugins, service)) end)"

# What the stand-in knows of the one request, to be put back.
SAVE = """
  local fake = ...
  local names = { "vars", "method", "path", "raw_path", "started", "exits", "serialize", "set_headers", "set_by_kong",
    "upstreams", "body", "cleared_headers" }
  local kept, ctx, shared, headers = {}, ngx.ctx, kong.ctx.shared, fake.request_headers()
  for _, name in ipairs(names) do kept[name] = fake[name] end
  return function()
    fake.request({ headers = headers })
    for _, name in ipairs(names) do fake[name] = kept[name] end
    ngx.ctx, kong.ctx.shared = ctx, shared
  end
"""


class Connection:
    """The server's end of one."""

    def __init__(self, gateway: Linked, number: int) -> None:
        self._gateway, self._number = gateway, number
        self.told = Told(gateway.leases, self)

    def beat(self, data: bytes) -> bool:
        if not self._gateway.is_silent:
            self._gateway.beats.append((self._number, data))
        return True


class Linked(Gateway):
    """`reply` may answer in the server's place, with the bytes of a connection."""

    def __init__(self, world: Any, names: list[str] | None = None, **options: Any) -> None:
        super().__init__(world, names or ["passport"], **options)
        tcp = world.run("return ngx.socket.tcp")
        self.threads = world.lua.execute(THREADS, world.fake)
        world.run(SOCKETS, tcp)
        # Lua's values cannot be read from within a function that Lua calls
        serve = "local fake, serve = ... return function(...) return serve(fake.now, ...) end"
        self.threads[b"serve"] = world.run(serve, world.fake, self._serve)
        world.fake[b"dial"] = self._dial
        self.now = 1000.0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self.leases = Leases(
            self._find, self._still, lambda: self.stamp, lambda s, f: self._due.append((self.now + s, f)),
            clock=lambda: self.now,
        )  # fmt: skip
        self.connections: dict[int, Connection] = {}
        self.beats: list[tuple[int, bytes]] = []
        """To be written."""
        self.verdicts: dict[str, Lasting] = {}
        """Of users, by their Authorization."""
        self.lease = Lease(5.0)
        self.holds = True
        """What the leases' conditions say."""
        self.stamp = 0
        """Of the keys."""
        self.is_silent = False
        """Whether the server stands still, but for its answers."""
        self.asked: list[list[Any]] = []
        self.asked_alone: list[Any] = []
        self.reply: Callable[[list[Any]], bytes] | None = None
        self.alone: dict[str, Any] = {"e": "overload"}
        """The answer to a question on a connection of its own."""
        self.prepared: list[Any] = []
        self.batches: list[Batch] = []
        self._between: Callable[[], Any] | None = None

    def _find(self, _chain: str, _facts: Facts, _verdict: Verdict) -> Lease:
        return self.lease

    def _still(self, _condition: Condition) -> bool:
        return self.holds

    def of_user(self, authorization: str) -> Lasting:
        """His verdict, the same each time."""
        if authorization not in self.verdicts:
            service_headers = (("X-Passport", f"eyJ {authorization}"), ("X-Secret", ""))
            fields = {"service_headers": service_headers, "headers": (("X-Mark", "1"),)}
            self.gets(authorization, memo="b=1", reason="ok", **fields)
        return self.verdicts[authorization]

    def gets(self, authorization: str, **fields: Any) -> None:
        """Another verdict for this user."""
        identity = Identity("https://issuer", authorization)
        self.verdicts[authorization] = lasting(Verdict(identity=identity, **fields))

    def _serve(self, now: float, number: int, data: bytes) -> bytes:
        self.now = now
        connection = self.connections.setdefault(number, Connection(self, number))
        unpacker = msgpack.Unpacker(unicode_errors="surrogateescape")
        unpacker.feed(data)
        out = b""
        for message in unpacker:
            self.asked.append(message)
            out += self.reply(message) if self.reply is not None else self.answer(connection, message)
        return out

    def answer(self, connection: Connection, message: list[Any]) -> bytes:
        """What the server writes."""
        _operation, chain, record, number, *_configs = message
        facts = parse_facts(record)
        return connection.told.frame(
            self.of_user(facts.headers.get("authorization", "")), facts, chain, 1, number
        )

    def _dial(self, _number: int) -> Any:
        inbox = bytearray()

        def send(_: Any, message: Any) -> int:
            packed = flat(message)
            inbox.extend(framed(self._alone(msgpack.unpackb(packed, unicode_errors="surrogateescape"))))
            return len(packed)

        def receive(_: Any, size: int) -> bytes:
            taken = bytes(inbox[:size])
            del inbox[:size]
            return taken

        methods = ["settimeouts", "connect", "getreusedtimes", "setkeepalive", "close"]
        return self.world.table(
            {**{name: lambda *_: 1 for name in methods}, "send": send, "receive": receive}
        )

    def _alone(self, message: list[Any]) -> dict[str, Any]:
        if message[0] == "c":
            self.batches.append(read_batch(message[3]))
            return {"k": "ok"}
        if message[0] == "p":
            return {"k": message[1], "r": self.prepared}
        self.asked_alone.append(message)
        return self.alone

    def _phases(self, plugins: Any, service: Any) -> tuple[int, bytes | None]:
        done: list[Any] = []
        phases = self.world.fake[b"phases"]
        self.world.run(GO, self.threads, phases, plugins, service, lambda *found: done.append(found))
        self.settle()
        between, self._between = self._between, None
        if between is not None:
            restore = self.world.run(SAVE, self.world.fake)
            between()
            restore()
            self.settle()
        if not done:
            self.run(1)
        return done[0]

    def meanwhile(self, others: Callable[[], Any]) -> None:
        """While the next request waits for its answer: `others` makes more of them, and has it answered."""
        self._between = others

    def ask(self, authorization: str = "Bearer x", **request: Any) -> tuple[int, str]:
        """One request of a user, with an id of its own."""
        fields: dict[str, Any] = {"lane": "express", "headers": [["Authorization", authorization]], **request}
        fields["vars"] = {"kong_request_id": f"{len(self.asked):032x}", **fields.get("vars", {})}
        return self.request(**fields)

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything that is ready go on."""
        beats, self.beats = self.beats, []
        for number, data in beats:
            self.threads[b"sockets"][number][b"push"](data)
        self.threads[b"run"](seconds)
        self.now = self.world.fake[b"now"]

    def run(self, seconds: float) -> None:
        """Time goes on, and the server's beats come."""
        last = self.now + seconds
        while True:
            at = min([last, *(at for at, _ in self._due)])
            self.settle(max(0.0, at - self.now))
            self.now = self.world.fake[b"now"] = max(at, self.now)
            ready = [f for when, f in self._due if when <= at]
            self._due = [entry for entry in self._due if entry[0] > at]
            for each in ready:
                each()
            self.settle()
            if at >= last and not ready:
                return

    def outcomes(self) -> list[Outcome]:
        """All so far."""
        self.world.module("kgate.outcomes").flush(False)
        return [outcome for batch in self.batches for outcome in batch.outcomes()]


def reason_of(body: str) -> str:
    return str(json.loads(body)["reason"])


def given(gateway: Linked) -> dict[str, str]:
    """What the service gets of the last request."""
    found: dict[str, str] = gateway.world.py(gateway.world.fake[b"set_headers"])
    return found
