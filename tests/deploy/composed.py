"""The compose stack without containers: the services' own commands and settings as processes of this machine.

Only what the containers make different is replaced: folders of volumes, names and ports of the network, and the names
of the programs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PYTHON = sys.executable
PATIENCE = 45.0


def settings(text: str) -> dict[str, str]:
    """An env file."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


class Composed:
    """Starts services; `close` ends them, each by its pid. port: gives ports; gid: stands for the common group; user:
    who kgate's own containers run as, where this process may choose."""

    def __init__(
        self, redis: str, gid: int, port: Callable[[], int] = free_port, user: int | None = None
    ) -> None:
        self._drop = (
            [] if user is None else ["setpriv", f"--reuid={user}", f"--regid={gid}", "--clear-groups"]
        )
        # a short path: a unix socket's name has at most 107 bytes
        self.dir = Path(tempfile.mkdtemp(prefix="kgate-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.run, self.state, self.boot, self.trust = (
            self.dir / name for name in ("run", "state", "boot", "trust")
        )
        for folder, mode in (
            (self.run, 0o2750),
            (self.state, 0o700),
            (self.boot, 0o755),
            (self.trust, 0o700),
        ):
            folder.mkdir()
            if user is not None:
                os.chown(folder, user, gid)
            folder.chmod(mode)
        (self.dir / "data").mkdir()
        self._redis, self.gid = redis, gid
        names = (
            "redis:6379",
            "issuer:8080",
            "orders:8080",
            "menus:8080",
            "gateway:8000",
            "kong:8001",
            "kgate:9542",
        )
        self.ports = {name: port() for name in names}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.secrets = self._secrets()
        gateway = (ROOT / "deploy/compose/gateway.yaml").read_text()
        (self.dir / "gateway.yaml").write_text(self.here(gateway))

    def _secrets(self) -> dict[str, dict[str, str]]:
        folder = self.dir / "compose"
        folder.mkdir()
        for name in ("secrets.sh", "redis.sh", "redis.conf"):
            shutil.copy(ROOT / "deploy/compose" / name, folder)
        for _ in range(2):  # the second time it changes nothing
            subprocess.run(["sh", folder / "secrets.sh"], check=True, capture_output=True, timeout=60)
        return {path.name: settings(path.read_text()) for path in (folder / "secrets").iterdir()}

    def here(self, text: str) -> str:
        """A container's text as it must be on this machine."""
        for name, port in self.ports.items():
            text = text.replace(name, f"127.0.0.1:{port}")
        text = re.sub(r"http://kong-(1|2|db):8000", f"http://127.0.0.1:{self.ports['gateway:8000']}", text)
        text = re.sub(r"http://kong-(1|2|db):8001", f"http://127.0.0.1:{self.ports['kong:8001']}", text)
        text = text.replace("--group=10542", f"--group={self.gid}")
        text = text.replace("0.0.0.0:9542", f"127.0.0.1:{self.ports['kgate:9542']}")
        for inside, outside in (
            ("/run/kgate", self.run),
            ("/var/lib/kgate", self.state),
            ("/srv/kgate/boot", self.boot),
            ("/srv/kgate/trust", self.trust),
            ("/opt/kgate/adapter", ROOT / "kong_plugins/adapter"),
        ):
            text = text.replace(inside, str(outside))
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service: its env files, then its own."""
        found: dict[str, str] = {}
        for file in SERVICES[service].get("env_file", ()):
            found |= self.secrets[Path(file).name]
        found |= {key: str(value) for key, value in (SERVICES[service].get("environment") or {}).items()}
        return {key: self.here(value) for key, value in found.items()}

    def _env(self, service: str, **more: str) -> dict[str, str]:
        path = f"{Path(PYTHON).parent}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "HOME": "/nonexistent",
            **self.environment(service),
            **more,
        }

    def once(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends by itself; its result."""
        made = SERVICES[service]
        entry = made.get("entrypoint") or ["kgate"]
        command = [*self._drop, *entry, *(self.here(part) for part in made["command"])]
        return subprocess.run(
            command, cwd=self.dir, env=self._env(service), capture_output=True, text=True, timeout=120
        )

    def start(self, name: str, command: list[str], env: Mapping[str, str]) -> None:
        """Start a process under a name."""
        with (self.dir / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=self.dir, env=dict(env), stdout=log, stderr=log, process_group=0
            )

    def start_redis(self) -> None:
        """With the stack's own script; only port, address and folder are this machine's."""
        folder = self.dir / "bin"
        folder.mkdir()
        (folder / "redis-server").symlink_to(self._redis)
        more = f"port {self.ports['redis:6379']}\nbind 127.0.0.1\ndir {self.dir}/data"
        env = self._env("redis", REDIS_MORE=more)
        env["PATH"] = f"{folder}:{env['PATH']}"
        self.start("redis", ["sh", str(self.dir / "compose/redis.sh")], env)
        self._until(lambda: _listens(self.ports["redis:6379"]), "redis")

    def start_example(self, service: str) -> None:
        """issuer, orders or menus."""
        made = SERVICES[service]["command"]
        command = [part if part != "0.0.0.0" else "127.0.0.1" for part in made]
        port = self.ports[f"{service}:8080"]
        command[command.index("--port") + 1] = str(port)
        self.start(service, [PYTHON, "-m", "examples.compose.servers", *command], self._env(service))
        self._until(lambda: self.get(f"http://127.0.0.1:{port}/healthz").ok, service)

    def start_server(self, service: str) -> None:
        """A plugin server, until it is ready by the stack's own health check."""
        command = [*self._drop, "kgate", *(self.here(part) for part in SERVICES[service]["command"])]
        self.start(service, command, self._env(service))
        check = [self.here(part) for part in SERVICES[service]["healthcheck"]["test"][1:]]
        check = [part.replace("127.0.0.1:9542", f"127.0.0.1:{self.ports['kgate:9542']}") for part in check]
        self._until(
            lambda: subprocess.run(check, capture_output=True, env=self._env(service)).returncode == 0,
            service,
        )

    def wait_for(self, name: str, url: str) -> None:
        """Until a process that was started answers."""
        self._until(lambda: self.get(url).ok, name)

    def get(self, url: str, **headers: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url, headers=headers, timeout=30)

    def token(self) -> str:
        return self.get(f"http://127.0.0.1:{self.ports['issuer:8080']}/token?user=alice").text

    def _until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if done():
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass
            process = self._processes[what]
            if process.poll() is not None or time.monotonic() > end:
                log = (self.dir / f"{what}.log").read_text()[-3000:]
                raise AssertionError(f"{what} is not ready (exit {process.poll()}):\n{log}")
            time.sleep(0.05)

    def close(self) -> None:
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
