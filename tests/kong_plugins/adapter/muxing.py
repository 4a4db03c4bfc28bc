"""Many requests of a worker that ask on its connections, in simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack

THREADS = (Path(__file__).parent / "threads.lua").read_bytes()
FACTS = [1, "rid", "192.0.2.1", "http", "GET", "h", "/", "/", "r", "s", "", "", ""]
ASK = """
  local threads, mux, chain, facts, n, done, with_configs = ...
  threads.go(function() done(mux.ask("/s", chain, facts, n, with_configs)) end)
"""


FIRST = 1 << 16
NUMBER = b"\xa1q\xce\0\1\0\0"


def answer(number: int, **fields: Any) -> bytes:
    body: bytes = msgpack.packb({"v": 1, **fields, "q": number})
    return len(body).to_bytes(4, "big") + body


class Mux:
    """The module with light threads. `serve(connection, messages)` gives the bytes of the answer, or None; a tuple
    of these and True hangs up after them."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.fake = world.fake
        self.threads = world.lua.execute(THREADS, world.fake)
        self.threads[b"serve"] = self._serve
        self.module = world.run('return (require("kong.plugins.kgate.mux"))')
        self.chain = world.table({"mux_head": ""})
        self.chain[b"mux_head"] = b"\x94" + msgpack.packb("m") + msgpack.packb("hash")
        self.chain[b"full_head"] = b"\x95" + msgpack.packb("m") + msgpack.packb("hash")
        self.chain[b"configs"] = msgpack.packb(["passport", "{}"])
        self.facts = world.table(FACTS)
        self.sent: list[list[Any]] = []  # per send: the messages
        self.by_connection: dict[int, list[Any]] = {}
        self.serve: Any = lambda connection, messages: b"".join(answer(m[3], n=m[2][1]) for m in messages)
        self.results: list[Any] = []
        self.sound: list[bool] = []  # of the answers
        self.links: list[Any] = []

    def _serve(self, connection: int, data: bytes) -> Any:
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        messages = list(unpacker)
        self.sent.append(messages)
        self.by_connection.setdefault(connection, []).extend(messages)
        return self.serve(connection, messages)

    def ask(self, count: int = 1, with_configs: bool = False) -> None:
        args = (self.chain, self.facts, len(FACTS), self._done, with_configs)
        for _ in range(count):
            self.world.run(ASK, self.threads, self.module, *args)

    def _done(self, found: Any, err: Any = None, again: Any = None) -> None:
        if found is None:
            self.results.append((None, err.decode(), bool(again)))
            return
        self.results.append((self.world.py(found), None, False))
        self.sound.append(err)
        self.links.append(again)  # in its place

    def run(self, seconds: float = 0) -> None:
        self.threads[b"run"](seconds)
