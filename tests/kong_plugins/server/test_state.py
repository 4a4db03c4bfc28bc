"""The control state in a whole server: keeper, workers, files, and a Redis that goes away."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis as redis_client
import requests

from kong_plugins.state.base import StoreError
from kong_plugins.state.cells import Cells
from kong_plugins.state.operations import blocks, revocations
from kong_plugins.state.redis import RedisStore
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, wait_until
from tests.pace import within
from tests.ports import free_port
from tests.redis_server import RedisServer

Serve = Callable[..., Server]

SECRET = b"a secret of at least thirty-two bytes!"
ISS = "https://auth.example"
GUARD = json.dumps({"fail": "closed"})
PASSPORT = json.dumps({"issuers": ["main"]})
CHAIN = ["abuse-guard", GUARD, "passport", PASSPORT]


@pytest.fixture
def issuers(tmp_path: Path) -> str:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    return json.dumps(
        [
            {
                "name": "main",
                "iss": ISS,
                "audiences": [],
                "algorithms": ["HS256"],
                "secret_file": str(tmp_path / "secret"),
            }
        ]
    )


@pytest.fixture
def store(own_redis: RedisServer) -> Iterator[RedisStore]:
    made = RedisStore(own_redis.url)
    yield made
    made.close()


def bearer(jti: str = "t-1", user: str = "alice") -> str:
    now = time.time()
    claims = {"iss": ISS, "sub": user, "jti": jti, "iat": now - 5, "exp": now + 600}
    return "Bearer " + jwt.encode(claims, SECRET, algorithm="HS256")


class Kong:
    """Connections of Kong, one to each worker."""

    def __init__(self, server: Server, workers: int, chain: list[str] = CHAIN) -> None:
        self._chain = chain
        self.askers = [Asker(server.run_dir / "express.sock") for _ in range(workers)]
        for asker in self.askers:
            asker.ask(["d", chain_of(*chain), facts_of("first"), chain])

    def __enter__(self) -> Kong:
        return self

    def __exit__(self, *_: object) -> None:
        for asker in self.askers:
            asker.close()

    def reasons(self, ip: str = "198.51.100.7", authorization: str = "") -> list[str]:
        """What each worker says: the reason of an exit, of no verdict, or "pass"."""
        asked = ["d", chain_of(*self._chain), facts_of("r1", ip, authorization)]
        found = [asker.ask(asked)[0] for asker in self.askers]
        return [each.get("e") or (each["rs"] if "st" in each else "pass") for each in found]


def all_say(kong: Kong, reason: str, **asked: str) -> Callable[[], bool]:
    return lambda: set(kong.reasons(**asked)) == {reason}


def restart(server: Server, serve: Serve, **more: Any) -> Server:
    """Start the server again in the same folder, with what is on disk."""
    server.end()
    return Server(server.run_dir.parent, **more)


@pytest.mark.parametrize(
    ("workers", "changes", "late"), [(3, 30, 1), pytest.param(4, 200, 2, marks=pytest.mark.chaos)]
)
def test_a_change_reaches_every_worker_within_200_ms(
    serve: Serve, own_redis: Any, store: RedisStore, workers: int, changes: int, late: int
) -> None:
    """Of 200 changes all but 1 in 100; of 30 one late one may be this machine's."""
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve(workers=workers, redis=own_redis.url)
    took = []
    with Kong(server, workers, ["abuse-guard", GUARD]) as kong:
        for number in range(changes):
            address = f"203.0.113.{number}"
            blocks.add(store, address, actor="kim")
            took.append(wait_until(all_say(kong, "ip_blocked", ip=address), 3))
    took.sort()
    print(f"{changes} changes, ms: {took[changes // 2] * 1e3:.0f} median, {took[-1 - late] * 1e3:.0f} p99")
    assert took[-1 - late] < within(0.2), took[-5:]


def test_without_messages_it_takes_the_poll_interval(serve: Serve, own_redis: Any, store: RedisStore) -> None:
    with redis_client.Redis(port=own_redis.port) as admin:
        admin.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "resetchannels")
    url = own_redis.url.replace("127.0.0.1", "mute:pw@127.0.0.1")
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve(workers=2, redis=url, poll=0.3)
    with Kong(server, 2, ["abuse-guard", GUARD]) as kong:
        for number in range(2):
            blocks.add(store, f"203.0.113.{number}", actor="kim")
            wait_until(all_say(kong, "ip_blocked", ip=f"203.0.113.{number}"), 0.3 + 0.3)
    assert "by polling alone" in server.log.read_text()
    assert ":pw@" not in server.log.read_text()


def test_revoked_stays_refused_when_redis_ends_and_the_server_starts_again(
    serve: Serve, own_redis: Any, store: RedisStore, issuers: str
) -> None:
    token = bearer()
    more = {"workers": 1, "redis": own_redis.url, "issuers": issuers}
    server = serve(**more)
    with Kong(server, 1) as kong:
        assert set(kong.reasons(authorization=token)) == {"pass"}
        revocations.revoke(store, "token", ISS, "t-1", actor="kim")
        wait_until(all_say(kong, "token_revoked", authorization=token), 2)
        revocations.revoke(store, "subject", ISS, "bob", actor="kim")
        wait_until(all_say(kong, "subject_revoked", authorization=bearer("t-2", "bob")), 2)
        own_redis.kill()
        os.kill(server.keepers()[0], signal.SIGKILL)
        assert set(kong.reasons(authorization=token)) == {"token_revoked"}
    again = restart(server, serve, **more)
    try:
        with Kong(again, 1) as kong:
            assert set(kong.reasons(authorization=token)) == {"token_revoked"}
            assert set(kong.reasons(authorization=bearer("t-2", "bob"))) == {"subject_revoked"}
            assert set(kong.reasons(authorization=bearer("t-3"))) == {"pass"}
    finally:
        again.end()


@pytest.mark.chaos
def test_a_keeper_killed_between_a_revocation_and_the_next_image(
    serve: Serve, own_redis: Any, store: RedisStore, issuers: str
) -> None:
    token = bearer()
    blocks.add(store, "192.0.2.1", actor="kim")
    more = {"workers": 2, "redis": own_redis.url, "issuers": issuers}
    server = serve(**more)
    state = server.run_dir / "state"
    image = (state / "snapshot").read_bytes()
    (keeper,) = server.keepers()
    with Kong(server, 2) as kong:
        revocations.revoke(store, "token", ISS, "t-1", actor="kim")
        wait_until(all_say(kong, "token_revoked", authorization=token), 2)
        own_redis.kill()
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: server.keepers() not in ([], [keeper]), 5)
        assert set(kong.reasons(authorization=token)) == {"token_revoked"}
        # a worker that starts now gets image and changes of the supervisor
        (old, _) = server.workers()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: old not in server.workers() and len(server.workers()) == 2, 3)
    wait_until(lambda: server.log.read_text().count(" is ready") == 3, 5)
    with Kong(server, 2) as kong:
        assert set(kong.reasons(authorization=token)) == {"token_revoked"}
    assert (state / "snapshot").read_bytes() == image, "it was not in an image yet"
    again = restart(server, serve, **more)
    try:
        with Kong(again, 2) as kong:
            assert set(kong.reasons(authorization=token)) == {"token_revoked"}
            assert set(kong.reasons(ip="192.0.2.1")) == {"ip_blocked"}
    finally:
        again.end()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (state, *sorted(state.iterdir()))] == [
        0o700,
        *(0o600 for _ in ("overlay", "snapshot", "state.key")),
    ]


@pytest.mark.chaos
def test_damaged_files_are_not_believed(serve: Serve, own_redis: Any, store: RedisStore) -> None:
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve(workers=1, redis=own_redis.url)
    saved = server.run_dir / "state" / "snapshot"
    raw = bytearray(saved.read_bytes())
    raw[-1] ^= 1
    saved.write_bytes(raw)
    own_redis.kill()
    again = restart(server, serve, workers=1, redis=own_redis.url)
    try:
        with Kong(again, 1, ["abuse-guard", GUARD]) as kong:
            assert kong.reasons(ip="192.0.2.1") == ["no_state"]
            assert "cannot be used" in again.log.read_text()
            own_redis.start()
            blocks.add(store, "192.0.2.2", actor="kim")
            wait_until(all_say(kong, "ip_blocked", ip="192.0.2.2"), 5)
    finally:
        again.end()


@pytest.mark.chaos
def test_a_keeper_that_hangs_holds_nobody_and_is_replaced(
    serve: Serve, own_redis: Any, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    server = serve("--metrics-listen", f"127.0.0.1:{port}", workers=1, redis=own_redis.url)
    (keeper,) = server.keepers()
    os.kill(keeper, signal.SIGSTOP)
    with Kong(server, 1, ["abuse-guard", GUARD]) as kong:
        blocks.add(store, "192.0.2.1", actor="kim")
        started = time.monotonic()
        assert kong.reasons(ip="192.0.2.1") == ["pass"]
        assert time.monotonic() - started < within(0.5)
        wait_until(all_say(kong, "ip_blocked", ip="192.0.2.1"), 12)
    assert keeper not in server.keepers()
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    assert "kgate_keeper_restarts_total 1.0" in text


def test_redis_killed_and_started_again_under_load(serve: Serve, own_redis: Any, store: RedisStore) -> None:
    """Decisions go on without an error; what changes after is seen."""
    port = free_port()
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve("--metrics-listen", f"127.0.0.1:{port}", workers=2, redis=own_redis.url)
    stop, found, slowest = threading.Event(), set(), [0.0]

    def load() -> None:
        with Kong(server, 2, ["abuse-guard", GUARD]) as kong:
            while not stop.is_set():
                started = time.monotonic()
                found.update(kong.reasons(ip="192.0.2.1"))
                found.update(kong.reasons())
                slowest[0] = max(slowest[0], time.monotonic() - started)

    def metric(name: str) -> float:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
        return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[1])

    def ready() -> dict[str, Any]:
        answer = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20)
        return {"status": answer.status_code, **answer.json()}

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait_until(lambda: ready()["status"] == 200 and not ready()["warnings"], 3)
        assert metric("kgate_blocks") == 1.0
        own_redis.kill()
        wait_until(lambda: metric("kgate_degraded") == 1.0, 3)
        assert ready()["status"] == 200, "an old state is no reason to take the node out"
        assert "may be old" in ready()["warnings"][0]
        before = metric("kgate_state_version")
        assert before == store_version_of(server)
        own_redis.start()
        # it came back empty: the first change starts a new history, which is followed
        blocks.add(store, "192.0.2.1", actor="kim")
        blocks.add(store, "192.0.2.2", actor="kim")
        wait_until(lambda: metric("kgate_degraded") == 0.0 and metric("kgate_state_version") > before, 5)
        assert metric("kgate_state_age_seconds") < within(5)
    finally:
        stop.set()
        thread.join()
    # a decision in whose middle the machine stood still is too late to be one
    assert found - ({"deadline"} if server.held_up() else set()) == {"ip_blocked", "pass"}
    assert slowest[0] < within(0.5)
    with Kong(server, 2, ["abuse-guard", GUARD]) as kong:
        assert set(kong.reasons(ip="192.0.2.2")) == {"ip_blocked"}
    lost = [line for line in server.log.read_text().splitlines() if "keeping version" in line]
    # a Redis that stood still with the machine is another matter
    assert len([line for line in lost if "imeout" not in line]) == 1, "one line"


@pytest.fixture
def lasting_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """One that has on its disk what it confirms."""
    made = RedisServer(redis_program, tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    made.start()
    yield made
    made.kill()


@pytest.mark.chaos
def test_what_redis_confirmed_counts_on_every_worker_however_often_it_is_killed(
    serve: Serve, lasting_redis: RedisServer
) -> None:
    """Operators change, clients ask, and a Redis that writes each change to its disk is killed again and again: no
    answer is wrong or missing meanwhile, what once was refused stays refused, and at the end everything that was
    confirmed counts on each worker, and nothing else."""
    server = serve(workers=3, redis=lasting_redis.url, poll=0.5)
    confirmed: list[str] = []
    tried: list[str] = []
    wrong: list[str] = []
    stop = threading.Event()

    def operate() -> None:
        with contextlib.closing(RedisStore(lasting_redis.url)) as store:
            for number in itertools.count():
                if stop.is_set():
                    return
                address = f"10.1.{number >> 8}.{number & 255}"
                tried.append(address)
                try:
                    blocks.add(store, address, actor="kim")
                    confirmed.append(address)
                except StoreError:
                    stop.wait(0.05)

    def ask() -> None:
        refused: set[str] = set()
        with Kong(server, 3, ["abuse-guard", GUARD]) as kong:
            while not stop.is_set():
                wrong.extend(each for each in kong.reasons() if each != "pass")
                for address in confirmed[-20:]:
                    found = set(kong.reasons(ip=address))
                    wrong.extend(found - {"pass", "ip_blocked"})
                    if found == {"ip_blocked"}:
                        refused.add(address)
                for address in random.sample(sorted(refused), min(5, len(refused))):
                    wrong.extend(
                        f"{address} {each}" for each in kong.reasons(ip=address) if each != "ip_blocked"
                    )

    threads = [threading.Thread(target=work) for work in (operate, ask, ask)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            stop.wait(1.0)
            lasting_redis.kill()
            stop.wait(0.3)
            lasting_redis.start()
        stop.wait(1.0)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(confirmed) > 50
    with Kong(server, 3, ["abuse-guard", GUARD]) as kong:
        wait_until(all_say(kong, "ip_blocked", ip=confirmed[-1]), 5)
        assert {each for address in confirmed for each in kong.reasons(ip=address)} == {"ip_blocked"}
        # without an answer a change may have been made
        with contextlib.closing(RedisStore(lasting_redis.url)) as store:
            held = {block.value for block in blocks.entries(store)}
        assert set(confirmed) <= held <= set(tried)
        for address in set(tried) - held:
            assert set(kong.reasons(ip=address)) == {"pass"}
    assert 1 <= server.log.read_text().count("keeping version") <= 5, "one line each time"


def store_version_of(server: Server) -> float:
    """The version that is on disk."""
    from kong_plugins.state.files import StateFiles, state_key

    folder = server.run_dir / "state"
    saved = StateFiles(folder, "default", state_key(folder, None, folder)).load()
    assert saved is not None
    os.close(saved.fd)
    return float(saved.snapshot.version)


@pytest.mark.chaos
def test_a_reload_starts_the_keeper_anew_and_keeps_the_state(
    serve: Serve, own_redis: Any, store: RedisStore
) -> None:
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve(workers=1, redis=own_redis.url)
    (keeper,), (worker,) = server.keepers(), server.workers()
    own_redis.kill()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in server.log.read_text(), 15)
    assert keeper not in server.keepers()
    assert worker not in server.workers()
    with Kong(server, 1, ["abuse-guard", GUARD]) as kong:
        assert kong.reasons(ip="192.0.2.1") == ["ip_blocked"]
        assert kong.reasons() == ["pass"]


def test_a_list_that_is_not_there_is_told_once(serve: Serve) -> None:
    port = free_port()
    server = serve("--metrics-listen", f"127.0.0.1:{port}", workers=2)
    config = json.dumps({"deny_lists": ["office"]})
    with Kong(server, 2, ["abuse-guard", config]) as kong:
        assert set(kong.reasons()) == {"pass"}

        def warnings() -> list[str]:
            found: list[str] = requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).json()["warnings"]
            return found

        wait_until(lambda: warnings() == ["list office is named but not there: it counts as empty"], 3)
    assert requests.get(f"http://127.0.0.1:{port}/readyz", timeout=20).status_code == 200
    assert server.log.read_text().count("list office") == 1
    assert server.keepers() == [], "without a store there is nothing to follow"
    assert not (server.run_dir / "state").exists()


def cells_fd(pid: int) -> int:
    """The shared memory of a process, as its mapping shows it."""
    mapped = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "kgate-cells" in line]
    assert mapped, "it is attached"
    for path in Path(f"/proc/{pid}/fd").iterdir():
        if "kgate-cells" in os.readlink(path):
            return os.open(path, os.O_RDWR)
    raise AssertionError("no descriptor")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="finds the memory by its name in /proc")
def test_all_workers_and_the_keeper_share_the_cells(serve: Serve, own_redis: Any) -> None:
    server = serve(workers=2, redis=own_redis.url)
    fds = [cells_fd(pid) for pid in [*server.workers(), *server.keepers()]]
    seen = [Cells.attach(fd) for fd in fds]
    try:
        assert len({os.fstat(fd).st_ino for fd in fds}) == 1
        assert len(seen) == 3
        now = seen[0].now()
        for number, cells in enumerate(seen):
            assert cells.add("logins", 1, 10**10, now) == number + 1
        # what one worker uses of a limit is gone for the others: a burst of 3 for all of them
        admitted = [cells.gcra("ip", 10**9, 3 * 10**9, now)[0] for cells in 2 * seen]
        assert sum(admitted) in (3, 4)
    finally:
        for cells, fd in zip(seen, fds, strict=True):
            cells.close()
            os.close(fd)


def test_a_worker_that_starts_again_finds_the_cells_as_they_were(serve: Serve) -> None:
    server = serve(workers=1)
    (old,) = server.workers()
    fd = cells_fd(old)
    cells = Cells.attach(fd)
    cells.add("logins", 7, 3600 * 10**9, cells.now())
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: server.workers() not in ([], [old]), 10)
    wait_until(lambda: server.log.read_text().count(" is ready") == 2, 5)
    (worker,) = server.workers()
    again_fd = cells_fd(worker)
    again = Cells.attach(again_fd)
    assert again.read("logins", again.now()) == 7
    for each, number in ((cells, fd), (again, again_fd)):
        each.close()
        os.close(number)
