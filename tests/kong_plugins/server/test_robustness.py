"""What the machine does to a whole server: no descriptors, no disk, no memory to spare, reloads under load."""

import base64
import errno
import hashlib
import hmac
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kong_plugins.server.running import (
    Asker,
    Caller,
    Server,
    chain_of,
    event,
    facts_of,
    start_instance,
    steadily,
    undisturbed,
    wait_until,
)

Serve = Callable[..., Server]
SECRET = b"a secret of at least thirty-two bytes!"
KEY = {"kty": "oct", "kid": "k", "alg": "HS256", "k": base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()}
ISSUER = {"iss": "https://auth.example", "audiences": [], "algorithms": ["HS256"], "jwks": {"keys": [KEY]}}
ISSUERS = json.dumps([{"name": "main", **ISSUER}])
PASSPORT = json.dumps({"issuers": ["main"]})


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(user: str, iss: str = "https://auth.example") -> str:
    head = b64(json.dumps({"alg": "HS256", "kid": "k"}).encode())
    body = b64(json.dumps({"iss": iss, "sub": user, "exp": int(time.time()) + 600}).encode())
    return f"{head}.{body}.{b64(hmac.digest(SECRET, f'{head}.{body}'.encode(), hashlib.sha256))}"


def decide(asker: Asker, config: str, authorization: str) -> dict[str, Any]:
    parts = ["passport", config]
    return asker.ask(["d", chain_of(*parts), facts_of("r", authorization=authorization), parts])[0]


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# trust anchors in Kong's config


@pytest.mark.parametrize("allowed", [False, True])
def test_inline_issuers_are_taken_only_with_the_option(serve: Serve, allowed: bool) -> None:
    server = serve(*(["--allow-inline-issuers"] if allowed else []), workers=1)
    inline = json.dumps([{"name": "dev", **ISSUER}])
    config = json.dumps({"issuers": ["dev"], "inline_issuers": inline})
    with Asker(server.run_dir / "express.sock") as asker:
        verdict = decide(asker, config, f"Bearer {token('alice')}")

    def stepped() -> Any:
        with Caller(server.run_dir / "passport.sock") as caller:
            instance = caller.call("plugin.StartInstance", {"Name": "passport", "Config": config})["Id"]
            facts = facts_of("r", authorization=f"Bearer {token('alice')}")
            data = {"v": 1, "f": facts, "g": ["passport"], "ids": []}
            return caller.call("plugin.Step", {"EventId": instance, "Data": data})["Data"]

    step = steadily(stepped)
    if allowed:
        assert "st" not in verdict
        assert step["Method"] == "kong.ctx.shared.set"
        return
    assert (verdict["st"], verdict["rs"]) == (503, "bad_config")
    assert (step["Method"], step["Args"][0]) == ("kong.response.exit", 503)
    assert server.log.read_text().count("--allow-inline-issuers") == 1


def test_an_issuer_that_is_more_than_a_name_is_refused(serve: Serve) -> None:
    server = serve("--allow-inline-issuers", workers=1)
    with Asker(server.run_dir / "express.sock") as asker:
        for issuers in ([{"name": "dev", **ISSUER}], "https://auth.example", [["main"]]):
            verdict = decide(asker, json.dumps({"issuers": issuers}), f"Bearer {token('alice')}")
            assert (verdict["st"], verdict["rs"]) == (503, "bad_config")
    assert server.log.read_text().count("issuers: ") == 3


# file descriptors


def test_without_file_descriptors_the_connections_of_before_are_served_and_it_recovers(serve: Serve) -> None:
    undisturbed(serve, run_out, workers=1, prefix=("sh", "-c", 'ulimit -n 64; exec "$@"', "sh"))


def run_out(server: Server) -> None:
    instance = start_instance(server)
    (worker,) = server.workers()
    with Caller(server.run_dir / "abuse-guard.sock") as old:
        many = []
        for _ in range(300):
            many.append(socket.socket(socket.AF_UNIX))
            many[-1].connect(str(server.run_dir / "express.sock"))
        wait_until(lambda: "no file descriptor" in server.log.read_text(), 10)
        before = [processor_seconds(pid) for pid in (server.process.pid, worker)]
        started = time.monotonic()
        while time.monotonic() - started < 0.5:
            assert old.call("plugin.HandleEvent", event(instance))["EventId"] == instance
            time.sleep(0.02)
        busy = [processor_seconds(pid) for pid in (server.process.pid, worker)]
        took = time.monotonic() - started
        assert max(now - then for now, then in zip(busy, before, strict=True)) < 0.7 * took, "no busy loop"
        for sock in many:
            sock.close()

        def served() -> bool:
            try:
                return start_instance(server) == instance
            except OSError:
                return False

        wait_until(served, 5)
        assert old.call("plugin.HandleEvent", event(instance))["EventId"] == instance
    assert server.workers() == [worker]


# the run dir's disk


def full_by_limit(server: Server) -> None:
    """Every write to a file fails with EFBIG, in this server and in the workers that it will start."""
    for pid in [server.process.pid, *server.workers()]:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))


def full_tmpfs(server: Server) -> None:
    with (server.run_dir / "big").open("wb", buffering=0) as big:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            os.posix_fallocate(big.fileno(), 0, 1 << 30)  # takes nothing when it cannot take all
        left = os.statvfs(server.run_dir)
        os.posix_fallocate(big.fileno(), 0, left.f_bavail * left.f_frsize)


def own_mounts() -> bool:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.parametrize("how", [pytest.param("limit", marks=pytest.mark.chaos), "tmpfs"])
def test_with_a_full_disk_it_serves_reloads_and_replaces_workers(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory, how: str
) -> None:
    if how == "tmpfs" and not own_mounts():
        pytest.skip("no tmpfs of one's own here: `unshare -rm` is not allowed")
    place = tmp_path_factory.mktemp("m")
    prefix = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size=1m none {place}; exec "$@"', "sh")
    if how == "tmpfs":
        server = serve("--run-dir", str(place), workers=2, prefix=prefix, issuers=ISSUERS)
        server.run_dir = Path(f"/proc/{server.process.pid}/root{place}")
        full_tmpfs(server)
        wait_until(lambda: "disk is full" in server.log.read_text(), 10)
    else:
        server = serve(workers=2, issuers=ISSUERS)
        full_by_limit(server)
    instance = start_instance(server)
    with Asker(server.run_dir / "express.sock") as asker:
        assert "st" not in decide(asker, PASSPORT, f"Bearer {token('alice')}")
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in server.workers() and len(server.workers()) == 2, 6)
        generation = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.workers()) == 2 and not generation & set(server.workers()), 15)
    assert start_instance(server) == instance


# reloads


class Rate:
    """Calls at a steady rate on both lanes, on kept and on new connections, until the block ends."""

    def __init__(self, server: Server, instance: int, per_second: int) -> None:
        self._dir, self._instance = server.run_dir, instance
        self._gap = 4 / per_second
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.calls: Counter[str] = Counter()
        works = {
            "pdk": self._pdk,
            "express": self._express,
            "pdk new": self._pdk,
            "express new": self._express,
        }
        self._threads = [
            threading.Thread(target=self._run, args=(name, work)) for name, work in works.items()
        ]

    def _pdk(self, kept: list[Any]) -> None:
        if not kept:
            kept.append(Caller(self._dir / "abuse-guard.sock"))
        assert kept[0].call("plugin.HandleEvent", event(self._instance))["EventId"] == self._instance

    def _express(self, kept: list[Any]) -> None:
        if not kept:
            kept.append(Asker(self._dir / "express.sock"))
        parts = ["passport", PASSPORT]
        message = ["d", chain_of(*parts), facts_of("r", authorization=f"Bearer {self.token}")]
        (verdict,) = kept[0].ask(message)
        if verdict.get("e") == "config":  # this worker does not know it yet: the adapter then sends it
            (verdict,) = kept[0].ask([*message, parts])
        assert verdict.get("ch") == message[1], verdict

    def _run(self, name: str, work: Callable[[list[Any]], None]) -> None:
        kept: list[Any] = []
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                work(kept)
                self.calls[name] += 1
            except (OSError, RuntimeError, AssertionError) as error:
                self.failures.append(f"{name}: {error!r}")
                while kept:
                    kept.pop().close()
            if name.endswith("new") and kept:
                kept.pop().close()
            due = max(due + self._gap, time.monotonic() - 0.1)
            time.sleep(max(0.0, due - time.monotonic()))
        for each in kept:
            each.close()

    def __enter__(self) -> "Rate":
        self.token = token("alice")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def reload_under_load(server: Server, reloads: int, per_second: int) -> Rate:
    instance = start_instance(server)
    with Rate(server, instance, per_second) as rate:
        for _ in range(reloads):
            generation = set(server.workers())
            server.process.send_signal(signal.SIGHUP)

            def replaced(old: set[int] = generation) -> bool:
                return len(server.workers()) == 2 and not old & set(server.workers())

            wait_until(replaced, 20)
    return rate


def test_reloads_lose_no_call_of_either_lane_on_kept_and_new_connections(serve: Serve) -> None:
    server = serve(workers=2, issuers=ISSUERS)
    for _ in range(8):
        before = server.held_up()
        rate = reload_under_load(server, 2, 200)
        if not rate.failures:
            break
        assert server.held_up() > before, server.log.read_text()
    assert len(rate.calls) == 4
    assert min(rate.calls.values()) > 10


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_twenty_reloads_at_1000_requests_a_second_lose_nothing(serve: Serve) -> None:
    server = serve(workers=2, issuers=ISSUERS)
    started = time.monotonic()
    rate = reload_under_load(server, 20, 1000)
    if rate.failures and server.held_up():
        pytest.skip("something else held up the server meanwhile: nothing can be said")
    assert rate.failures == [], server.log.read_text()
    if sum(rate.calls.values()) / (time.monotonic() - started) < 500:
        pytest.skip("this machine is too slow to say")


# memory


def resident(pid: int) -> int:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1])


class Both:
    """Distinct users on both lanes, a batch at a time."""

    def __init__(self, server: Server) -> None:
        self._dir = server.run_dir
        self._parts = ["passport", PASSPORT]
        self._name = chain_of(*self._parts)
        with Caller(self._dir / "passport-direct.sock") as caller:
            started = caller.call("plugin.StartInstance", {"Name": "passport", "Config": PASSPORT})
        self._instance = started["Id"]
        self._connect()

    def _connect(self) -> None:
        self.asker, self.caller = (
            Asker(self._dir / "express.sock"),
            Caller(self._dir / "passport-direct.sock"),
        )
        self.asker.ask(["d", self._name, facts_of("r"), self._parts])

    def close(self) -> None:
        self.asker.close()
        self.caller.close()

    def send(self, numbers: range) -> None:
        for left in reversed(range(20)):
            try:
                self._send(numbers)
                return
            except (ConnectionError, TimeoutError):
                # a busy machine: the server stood still and closed what waited
                if not left:
                    raise
                self.close()
                self._connect()

    def _send(self, numbers: range) -> None:
        made = [
            facts_of(f"r{n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"Bearer {token(f'u{n}')}")
            for n in numbers
        ]
        for verdict in self.asker.ask(*(["d", self._name, facts] for facts in made)):
            assert "s" in verdict, verdict
        self.asker.ask(["o", f"b-{numbers.start}", 0, [[f"r{numbers.start}", *[""] * 12]]])
        for n in numbers:
            facts = facts_of(f"p{n}", authorization=f"Bearer {token(f'p{n}')}")
            step = {"EventId": self._instance, "Data": [facts, [self._instance]]}
            assert self.caller.call("plugin.Step", step)["Data"]["Method"] == "kong.kgate.verdict"


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_memory_after_200000_events_is_that_after_20000(serve: Serve) -> None:
    server = serve(workers=1, issuers=ISSUERS)
    (worker,) = server.workers()
    both = Both(server)
    for start in range(0, 20_000, 50):
        both.send(range(start, start + 50, 2))
    early = resident(worker)
    for start in range(20_000, 200_000, 50):
        both.send(range(start, start + 50, 2))
    late = resident(worker)
    both.close()
    assert server.workers() == [worker]
    assert late <= 1.1 * early, f"{early} kB, then {late} kB"
