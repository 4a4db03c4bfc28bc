"""Sockets for the adapter's express client: one that plays a script, and one that is a real unix socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack


def framed(answer: Any) -> bytes:
    body = msgpack.packb(answer, unicode_errors="surrogateescape")
    return b"%08x" % len(body) + body


def flat(message: Any) -> bytes:
    """What a cosocket sends: text, or the texts of a table and of the tables in it."""
    if isinstance(message, bytes):
        return message
    return b"".join(flat(message[i]) for i in range(1, len(message) + 1))


class Scripted:
    """Plays connections in the order in which they are dialled.

    A connection is a dict: connect (error), reused (times), send (error), answer (bytes that are read), end
    (the error after these bytes: closed or timeout). What the client did is in `seen`.
    """

    def __init__(self, world: Any, connections: list[dict[str, Any]]) -> None:
        self.seen: list[list[Any]] = []
        self.world = world
        self.connections = connections
        world.fake[b"dial"] = self._dial

    def sent(self) -> list[bytes]:
        """The messages of all connections."""
        return [event[1] for events in self.seen for event in events if event[0] == "send"]

    def _dial(self, number: int) -> Any:
        if number > len(self.connections):
            raise AssertionError("more connections than the script has")
        script = self.connections[number - 1]
        events: list[Any] = []
        self.seen.append(events)
        data = bytearray(script.get("answer", b""))

        def note(name: str, *values: Any) -> None:
            events.append((name, *values))

        def connect(_: Any, path: bytes, options: Any = None) -> Any:
            note("connect", path.decode(), self.world.py(options) if options is not None else None)
            return (None, script["connect"].encode()) if "connect" in script else 1

        def send(_: Any, message: Any) -> Any:
            message = flat(message)
            note("send", message)
            return (None, script["send"].encode()) if "send" in script else len(message)

        def receive(_: Any, size: int) -> Any:
            if len(data) >= size:
                taken = bytes(data[:size])
                del data[:size]
                return taken
            partial = bytes(data)
            data.clear()
            return None, script.get("end", "closed").encode(), partial

        methods = {
            "settimeouts": lambda _, *times: note("timeouts", *times),
            "connect": connect,
            "getreusedtimes": lambda _: script.get("reused", 0),
            "send": send,
            "receive": receive,
            "setkeepalive": lambda _, *args: note("keepalive", *args),
            "close": lambda _: note("close"),
        }
        return self.world.table(methods)


class Server:
    """A real unix socket that answers each MessagePack request. `handle` gives the answer, None hangs up."""

    def __init__(self, path: Path, handle: Callable[[Any], Any]) -> None:
        self.path, self.handle = path, handle
        self.accepted = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            self.accepted += 1
            with connection:
                if not self._talk(connection):
                    return

    def _talk(self, connection: socket.socket) -> bool:
        unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape")
        while data := connection.recv(65536):
            unpacker.feed(data)
            for message in unpacker:
                if message == "stop":
                    return False
                answer = self.handle(message)
                if answer is None:
                    return True
                connection.sendall(framed(answer))
        return True

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
            last.sendall(msgpack.packb("stop"))
        self._thread.join(timeout=30)
        self._listener.close()


def real_dial(world: Any) -> Callable[[], None]:
    """Let the adapter's cosockets be real blocking unix sockets, with a pool per path as nginx has.

    Returns a function that closes the idle ones.
    """
    pools: dict[Any, list[tuple[socket.socket, int]]] = {}

    def dial(_: int) -> Any:
        state: dict[str, Any] = {"sock": None, "times": 0, "pool": None}

        def connect(_: Any, path: bytes, options: Any = None) -> Any:
            state["pool"] = world.py(options)["pool"] if options is not None else path
            pool = pools.get(state["pool"])
            if pool:
                state["sock"], state["times"] = pool.pop()
                return 1
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(20)
            try:
                sock.connect(path.decode().removeprefix("unix:"))
            except OSError as error:
                sock.close()
                return None, str(error).encode()
            state["sock"] = sock
            return 1

        def receive(_: Any, size: int) -> Any:
            data = b""
            while len(data) < size:
                try:
                    chunk = state["sock"].recv(size - len(data))
                except ConnectionError:
                    chunk = b""
                if not chunk:
                    return None, b"closed", data
                data += chunk
            return data

        def send(_: Any, message: Any) -> Any:
            message = flat(message)
            try:
                state["sock"].sendall(message)
            except OSError:
                return None, b"closed"
            return len(message)

        def keepalive(*_: Any) -> None:
            pools.setdefault(state["pool"], []).append((state["sock"], state["times"] + 1))

        methods = {
            "settimeouts": lambda *_: None,
            "connect": connect,
            "getreusedtimes": lambda _: state["times"],
            "send": send,
            "receive": receive,
            "setkeepalive": keepalive,
            "close": lambda _: state["sock"].close(),
        }
        return world.table(methods)

    world.fake[b"dial"] = dial

    def hang_up() -> None:
        for pool in pools.values():
            for sock, _ in pool:
                sock.close()
        pools.clear()

    return hang_up
