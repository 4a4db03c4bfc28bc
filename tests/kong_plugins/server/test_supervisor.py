"""The supervisor with real worker processes: balance, death, reload, strangers, configs for all."""

import contextlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jwt
import msgpack
import pytest
import requests

from kong_plugins.engine.registry import VERSION
from kong_plugins.server.config import RedisConfig
from kong_plugins.server.options import Options
from kong_plugins.server.peers import default_allowed
from kong_plugins.server.supervisor import SLOW_SECONDS, Supervisor
from tests.kong_plugins.server.running import (
    Asker,
    Caller,
    Server,
    chain_of,
    event,
    facts_of,
    running,
    start_instance,
    steadily,
    undisturbed,
    wait_until,
)
from tests.ports import free_port

Serve = Callable[..., Server]
SECRET = "a secret of at least thirty-two bytes!"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    """One server for all tests that leave its supervisor alone; each leaves two workers that serve."""
    folder = tmp_path_factory.mktemp("s")
    made = Server(folder, "--log-level", "debug", "--metrics-listen", f"127.0.0.1:{port}", workers=2)
    yield made
    made.end()


@pytest.fixture
def server(shared: Server, port: int) -> Iterator[Server]:
    yield shared
    wait_until(lambda: requests.get(f"http://127.0.0.1:{port}/healthz", timeout=20).json()["workers"] == 2, 5)


def test_every_worker_knows_an_instance_before_its_start_is_answered(server: Server) -> None:
    instance = start_instance(server)
    callers = [Caller(server.run_dir / "abuse-guard.sock") for _ in range(9)]
    for caller in callers:
        with contextlib.suppress(OSError):  # held up by the machine; not knowing it would be a RuntimeError
            assert caller.call("plugin.HandleEvent", event(instance))["EventId"] == instance
        caller.close()


def balance(server: Server) -> None:
    def spread(callers: list[Caller]) -> Counter[int]:
        return Counter(caller.call("plugin.GetStatus", {})["Pid"] for caller in callers)

    with contextlib.ExitStack() as stack:
        path = server.run_dir / "passport.sock"
        callers = [stack.enter_context(Caller(path)) for _ in range(32)]
        assert set(spread(callers).values()) == {8}
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server.log.read_text().count(" has ended (") == 1, 5)
        again = []
        for caller in callers:
            with contextlib.suppress(OSError):
                caller.call("plugin.GetStatus", {})
                again.append(caller)
        assert len(again) == 24, "only the dead worker's connections are lost"
        wait_until(lambda: server.log.read_text().count(" is ready") == 5, 10)  # of the death
        again += [stack.enter_context(Caller(path)) for _ in range(8)]
        assert max(spread(again).values()) <= 1.3 * 8


def test_connections_are_balanced_also_after_a_worker_died(serve: Serve) -> None:
    undisturbed(serve, balance, workers=4)


def test_new_workers_know_the_configs_of_before(server: Server, port: int) -> None:
    instance = start_instance(server)
    before = server.workers()
    deaths = server.log.read_text().count(" has ended (")
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: server.log.read_text().count(" has ended (") == deaths + 2, 10)

    def knows() -> bool:
        try:
            with Caller(server.run_dir / "abuse-guard.sock") as caller:
                return bool(caller.call("plugin.HandleEvent", event(instance))["EventId"] == instance)
        except (ConnectionError, OSError):
            return False  # it waited until a worker was ready, and that was too long for an answer

    wait_until(knows, 10)
    assert not set(before) & set(server.workers())
    metrics = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    assert f"kgate_worker_deaths_total {deaths + 2}.0" in metrics


def test_a_reload_with_a_bad_config_changes_nothing(server: Server) -> None:
    before = server.workers()
    server.config.write_text("isuers: []\n")
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in server.log.read_text(), 5)
    assert "unknown field 'isuers'" in server.log.read_text()
    assert server.workers() == before
    assert start_instance(server)
    server.config.write_text("issuers: []\n")


def test_a_reload_serves_by_the_new_config(server: Server) -> None:
    parts = ["passport", json.dumps({"issuers": ["main"]})]
    token = jwt.encode({"iss": "https://a.example", "sub": "u"}, SECRET, headers={"kid": "k"})
    facts = facts_of("r", authorization=f"Bearer {token}")

    def reason() -> object:
        def asked() -> object:
            with Asker(server.run_dir / "express.sock") as asker:
                return asker.ask(["d", chain_of(*parts), facts, parts])[0].get("rs")

        return steadily(asked)

    assert reason() == "unknown_issuer_config"
    before = server.workers()
    jwk = {**jwt.algorithms.HMACAlgorithm.to_jwk(SECRET, as_dict=True), "kid": "k", "alg": "HS256"}
    issuer = {"name": "main", "iss": "https://a.example", "audiences": [], "algorithms": ["HS256"]}
    server.config.write_text(json.dumps({"issuers": [{**issuer, "jwks": {"keys": [jwk]}}]}))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not set(before) & set(server.workers()), 10)
    assert reason() == "claim_missing", "its signature is good"
    server.config.write_text("issuers: []\n")


def test_a_dead_worker_is_back_within_a_second(server: Server, port: int) -> None:
    def serving() -> int:
        return int(requests.get(f"http://127.0.0.1:{port}/healthz", timeout=20).json()["workers"])

    victim = server.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not running(victim), 1)
    wait_until(lambda: len({*server.workers()} - {victim}) == 2 and serving() == 2, 1)


def test_a_worker_that_hangs_is_killed_and_replaced(server: Server) -> None:
    victim = server.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: victim not in server.workers() and len(server.workers()) == 2, 5)
    assert f"worker {victim} does not answer" in server.log.read_text()
    assert start_instance(server)


def test_a_whole_server_that_stood_still_goes_on_and_answers_nothing_late(
    server: Server,
) -> None:
    instance = start_instance(server)

    def asked() -> Caller:
        made = Caller(server.run_dir / "abuse-guard.sock")
        made.call("plugin.HandleEvent", event(instance))
        return made

    with steadily(asked) as caller:
        os.killpg(server.process.pid, signal.SIGSTOP)
        caller.send("plugin.HandleEvent", event(instance))
        threading.Timer(0.45, os.killpg, (server.process.pid, signal.SIGCONT)).start()
        with pytest.raises((ConnectionError, OSError)):
            caller.answer()

    def serves() -> bool:
        try:
            return start_instance(server) == instance
        except OSError:
            return False  # it came before the supervisor had looked what is old

    wait_until(serves, 5)


def test_a_worker_that_does_not_answer_gets_no_new_connections_while_others_do(tmp_path: Path) -> None:
    """It may be back before the watchdog kills it, and what waits there meanwhile is late."""
    options = Options(tmp_path, None, 2, 0.05, "info", "human", default_allowed())
    supervisor = Supervisor(options, {}, RedisConfig(), RedisConfig, lambda: None)
    given: list[int] = []

    def worker(pid: int, silent: float) -> Any:
        send = lambda *_message, fd: (given.append(pid), os.close(fd))  # noqa: E731
        more = {"generation": 0, "ready": True, "leaving": False, "connections": Counter(), "send": send}
        return SimpleNamespace(pid=pid, answered=time.monotonic() - silent, **more)

    def hand_out(*workers: Any) -> list[int]:
        supervisor.workers = list(workers)
        given.clear()
        for _ in range(4):
            supervisor._hand_out("express", os.dup(1))
        return given

    assert hand_out(worker(1, 0), worker(2, 0)) == [1, 2, 1, 2]
    assert hand_out(worker(1, SLOW_SECONDS + 0.1), worker(2, 0)) == [2, 2, 2, 2]
    assert hand_out(worker(1, 9), worker(2, 9)) == [1, 2, 1, 2], "better than nobody"
    os.close(supervisor._cells_fd)


def test_workers_end_with_their_supervisor(serve: Serve) -> None:
    server = serve()
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    wait_until(lambda: not any(map(running, workers)), 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused_and_told_how_to_be_let_in(server: Server) -> None:
    path = server.run_dir / "express.sock"
    for folder in (server.run_dir, *server.run_dir.parents):
        if folder != Path("/") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    path.chmod(0o666)

    def connect_as(user: int) -> int:
        """In a child: 1 when the connection is closed at once, 2 when it stays open, 3 when there is none."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answer = 3
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(20)
                sock.connect(str(path))
                answer = 2 if sock.recv(1) else 1
        except TimeoutError:
            answer = 2
        finally:
            os._exit(answer)

    assert connect_as(65534) == 1
    wait_until(lambda: "refused a connection of uid 65534" in server.log.read_text(), 2)
    assert "--allow-uid 65534" in server.log.read_text()
    assert start_instance(server), "root is served"


def test_garbage_on_a_socket_harms_nobody_else(server: Server) -> None:
    instance = start_instance(server)
    noise = random.Random(7)
    for lane in ("express", "abuse-guard"):
        for _ in range(30):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(server.run_dir / f"{lane}.sock"))
                sock.sendall(noise.randbytes(noise.randint(1, 2000)))

    def handled() -> int:
        with Caller(server.run_dir / "abuse-guard.sock") as caller:
            return int(caller.call("plugin.HandleEvent", event(instance))["EventId"])

    assert steadily(handled) == instance


def test_a_batch_of_outcomes_may_reach_two_workers_and_counts_once(server: Server) -> None:
    row = ["r1"] + [""] * 12
    for _ in range(4):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.run_dir / "express.sock"))
            sock.sendall(msgpack.packb(["r", "w-1", 0, msgpack.packb(row)]))
            assert msgpack.unpackb(sock.recv(100)[8:]) == {"k": "ok"}
    wait_until(lambda: "outcomes of batch w-1: " in server.log.read_text(), 5)
    assert server.log.read_text().count("outcomes of batch w-1") == 1


def test_probes_and_metrics_of_a_whole_server(server: Server, port: int) -> None:
    def get(path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=20)

    assert get("/healthz").json() == {"workers": 2, "wanted": 2, "version": VERSION}
    wait_until(lambda: get("/readyz").status_code == 200, 3)
    instance = start_instance(server)
    record = [1, "r1", "203.0.113.9", "http", "GET", "h", "/", "/", "orders", "order", "food", "", ""]
    labels, lines = 'plugin="abuse-guard",reason="ip_denied",route="orders",tenant="food",verdict="exit"', []

    def refused() -> str:
        lines.append(f"kgate_requests_total{{{labels}}} {len(lines) + 1}.0")
        with Caller(server.run_dir / "abuse-guard.sock") as caller:
            step = {"EventId": instance, "Data": {"v": 1, "f": record, "g": ["abuse-guard"], "ids": []}}
            return str(caller.call("plugin.Step", step)["Data"]["Method"])

    assert steadily(refused) == "kong.response.exit"
    # one, but for those that the machine held up and that were asked again
    wait_until(lambda: any(line in get("/metrics").text for line in lines), 3)
    assert "203.0.113.9" not in get("/metrics").text


def test_without_control_state_it_is_alive_but_not_ready(serve: Serve) -> None:
    port, nobody = free_port(), free_port()
    server = serve("--metrics-listen", f"127.0.0.1:{port}", workers=1, redis=f"redis://127.0.0.1:{nobody}/0")
    assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=20).status_code == 200
    wait_until(lambda: "no_state" in requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).text, 3)
    assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).status_code == 503
    instance = start_instance(server)
    record = [1, "r1", "198.51.100.7", "http", "GET", "h", "/", "/", "orders", "order", "food", "", ""]

    def told() -> Any:
        with Caller(server.run_dir / "abuse-guard.sock") as caller:
            step = {"EventId": instance, "Data": {"v": 1, "f": record, "g": ["abuse-guard"], "ids": []}}
            return caller.call("plugin.Step", step)["Data"]["Args"][1]

    assert steadily(told) == {"v": 1, "n": "r1", "e": "no_state"}, "closed: no ids, no verdict"
