"""`kgate serve` in processes of its own, and the other end of its sockets."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgpack

from tests.pace import within

KGATE = [sys.executable, "-m", "cli.main"]
DENY = json.dumps({"deny": ["203.0.113.0/24"]})
T = TypeVar("T")


class Server:
    """`kgate serve` with its workers, in a process group of its own."""

    def __init__(
        self,
        folder: Path,
        *args: str,
        workers: int = 2,
        redis: str = "",
        poll: float = 2.0,
        issuers: str = "[]",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.run_dir = folder / "run"
        self.config = folder / "server.yaml"
        at = f"redis: {{url: '{redis}', poll_seconds: {poll}}}\n" if redis else ""
        self.config.write_text(f"issuers: {issuers}\n{at}")
        self.log = folder / "log"
        env = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(*prefix, *KGATE, "serve", "--output", "json", "--workers", str(workers)),
                    *("--run-dir", str(self.run_dir), "--config", str(self.config), *args),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
                process_group=0,
            )
        assert self.process.stdout is not None
        try:
            assert self.process.stdout.readline(), self.log.read_text()
        except BaseException:  # a test that ran out of time, too
            self.end()
            raise

    def workers(self) -> list[int]:
        """Those that have ended and were not yet taken note of, too."""
        return [pid for pid in self._children() if not is_keeper(pid) and not is_analysis(pid)]

    def keepers(self) -> list[int]:
        return [pid for pid in self._children() if is_keeper(pid)]

    def analyses(self) -> list[int]:
        return [pid for pid in self._children() if is_analysis(pid)]

    def held_up(self) -> int:
        """How often the machine did not let one of its processes run for 150 ms: by design it then closes what waited
        unanswered (stall.py)."""
        return self.log.read_text().count("stood still")

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.process.terminate()
            self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


def is_keeper(pid: int) -> bool:
    return _runs(pid, b"kong_plugins.server.keeper")


def is_analysis(pid: int) -> bool:
    return _runs(pid, b"kong_plugins.server.analysis")


def _runs(pid: int, module: bytes) -> bool:
    try:
        return module in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


class Caller:
    """One connection of Kong to a plugin's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._unpacker = msgpack.Unpacker()
        self._number = 0

    def call(self, method: str, argument: Any) -> Any:
        """The result; ConnectionError when the connection ends, RuntimeError for an error answer."""
        self.send(method, argument)
        return self.answer()

    def send(self, method: str, argument: Any) -> None:
        """Ask, without waiting for the answer."""
        self._number += 1
        self._socket.sendall(msgpack.packb([0, self._number, method, [argument]]))

    def answer(self) -> Any:
        """The result of what was asked last."""
        while True:
            for _, number, error, result in self._unpacker:
                assert number == self._number
                if error is not None:
                    raise RuntimeError(error)
                return result
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError
            self._unpacker.feed(data)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Asker:
    """One connection of the express lane."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(path))
        self._buffer = b""

    def ask(self, *messages: Any) -> list[dict[str, Any]]:
        """The answers, in order; ConnectionError when the connection ends."""
        self._socket.sendall(b"".join(msgpack.packb(message) for message in messages))
        return [msgpack.unpackb(self._read(int(self._read(8), 16))) for _ in messages]

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionError
            self._buffer += data
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chain_of(*parts: str) -> str:
    """The express lane's name of a chain: plugin, config, plugin, config ..."""
    return hashlib.md5("".join(f"{part}\0" for part in parts).encode()).hexdigest()


def facts_of(request_id: str, ip: str = "198.51.100.7", authorization: str = "") -> list[Any]:
    """The facts of one request."""
    plain = [1, request_id, ip, "http", "GET", "h", "/", "/", "orders", "order", "food", "", ""]
    return [*plain, "authorization", authorization] if authorization else plain


def wait_until(true: Callable[[], bool], seconds: float) -> float:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within(seconds)
        time.sleep(0.01)
    return time.monotonic() - started


def steadily(work: Callable[[], T], tries: int = 20) -> T:
    """What it returns; once more, as Kong asks again, when a server that the machine held up closed what waited."""
    for left in reversed(range(tries)):
        try:
            return work()
        except OSError:
            if not left:
                raise
            time.sleep(0.1)
    raise AssertionError("not tried")


def undisturbed(
    serve: Callable[..., Server], test: Callable[[Server], T], tries: int = 6, **options: Any
) -> T:
    """Run a test on a new server; on another one when it failed and its server was held up meanwhile."""
    for left in reversed(range(tries)):
        server = serve(**options)
        try:
            return test(server)
        except (AssertionError, OSError):
            if not left or not server.held_up():
                raise
            server.end()
    raise AssertionError("not tried")


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its new parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start_instance(server: Server, config: str = DENY) -> int:
    """The id of an instance."""

    def start() -> int:
        with Caller(server.run_dir / "abuse-guard.sock") as caller:
            return int(caller.call("plugin.StartInstance", {"Name": "abuse-guard", "Config": config})["Id"])

    return steadily(start)


def event(instance: int) -> dict[str, Any]:
    return {"InstanceId": instance, "EventName": "access"}
