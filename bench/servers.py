"""The servers that are measured, as processes of the bench's own in a folder of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgpack

from bench.messages import start_instance
from bench.rounds import ROOT, BenchError
from kong_plugins.kong_env import direct_socket, express_socket

STOCK = "three-calls"


class Process:
    """One server; `pid` is where its CPU time is counted."""

    def __init__(self, name: str, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, cwd=ROOT, env=env)
        self.pid = self._process.pid

    def wait_for(self, path: Path) -> None:
        """Until the unix socket answers. Raises BenchError."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(path))
                return
            time.sleep(0.02)
        raise BenchError(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Servers:
    """kgate serve, both modes of the stock server, and echoes; ended by `close`."""

    def __init__(self, anchor: dict[str, Any]) -> None:
        # a short path: a unix socket's name has at most 107 bytes
        self.dir = Path(tempfile.mkdtemp(prefix="kgate-bench-", dir="/tmp"))
        self._anchor = anchor
        self._running: list[Process] = []

    def _start(
        self, name: str, command: list[str], ready: Path, env: dict[str, str] | None = None
    ) -> Process:
        process = Process(name, command, self.dir / f"{name}.log", env)
        self._running.append(process)
        process.wait_for(ready)
        return process

    def kgate(self) -> tuple[Process, Path, Path]:
        """kgate serve with both lanes and one worker: the process, passport's socket and the express one."""
        config, run_dir = self.dir / "server.yaml", self.dir / "run"
        config.touch(0o600)
        config.write_text(json.dumps({"issuers": [self._anchor]}))
        command = [sys.executable, "-m", "cli.main", "serve", "--run-dir", str(run_dir), "--lane", "both"]
        command += ["--config", str(config), "--log-level", "error", *_one_worker()]
        env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        express = express_socket(run_dir)
        return self._start("kgate", command, express, env), direct_socket(run_dir, "passport"), express

    def stock(self, mode: str) -> tuple[Process, Path] | None:
        """kong-python-pluginserver in mode `threads` or `gevent`; None where that cannot be had."""
        if mode == "gevent" and importlib.util.find_spec("gevent") is None:
            return None
        path = self.dir / f"{mode}.sock"
        script = Path(sys.executable).parent / "kong-python-pluginserver"
        command = [str(script), "--no-lua-style", "-d", str(ROOT / "bench" / "stock_plugins")]
        command += ["-p", str(self.dir), "--socket-name", path.name] + (["-g"] if mode == "gevent" else [])
        return self._start(f"stock-{mode}", command, path), path

    def echo(self, name: str, reply: bytes) -> Path:
        """A do-nothing server that answers everything with `reply`."""
        path = self.dir / f"{name}.sock"
        self._start(name, [sys.executable, "-m", "bench.echo", str(path), reply.hex()], path)
        return path

    def close(self) -> None:
        """End all and remove the folder."""
        for process in self._running:
            process.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


TRIES, PAUSE_SECONDS = 20, 0.2


def _one_worker() -> list[str]:
    from cli.commands.serve import command

    has = any(parameter.name == "workers" for parameter in command.params)
    return ["--workers", "1"] if has else []


def start_instances(path: Path, plugin: str, configs: list[dict[str, Any]]) -> list[int]:
    """The ids of a plugin's instances, as the server gives them to Kong. Raises BenchError."""
    for _ in range(TRIES - 1):
        try:
            return _start_instances(path, plugin, configs)
        except (ConnectionError, StopIteration):
            time.sleep(PAUSE_SECONDS)  # a server that stood still closes what waited: Kong asks again, too
    return _start_instances(path, plugin, configs)


def _start_instances(path: Path, plugin: str, configs: list[dict[str, Any]]) -> list[int]:
    ids = []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        with sock.makefile("rb", buffering=0) as stream:
            unpacker = msgpack.Unpacker(stream, strict_map_key=False)
            for config in configs:
                sock.sendall(start_instance(plugin, config))
                _, _, error, result = next(unpacker)
                if error:
                    raise BenchError(f"{plugin}: {error}")
                ids.append(result["Id"])
    return ids
