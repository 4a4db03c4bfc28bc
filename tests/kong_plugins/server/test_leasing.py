"""Leases of a whole server, over its socket: given, kept up, and taken back before anybody passes who should not."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import msgpack
import pytest

from kong_plugins.passport.core import LASTS_FROM
from kong_plugins.server.columns import pack_rows
from kong_plugins.state.operations import blocks
from kong_plugins.state.redis import RedisStore
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, undisturbed, wait_until
from tests.pace import within

Serve = Callable[..., Server]

SECRET = b"a secret of at least thirty-two bytes!"
ISS = "https://auth.example"
CHAIN = ["abuse-guard", json.dumps({"fail": "closed"}), "passport", json.dumps({"issuers": ["main"]})]
SILENT = 0.1
"""Seconds after the last beat that leases hold."""


@pytest.fixture
def issuers(tmp_path: Path) -> str:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    issuer = {"name": "main", "iss": ISS, "audiences": [], "algorithms": ["HS256"]}
    return json.dumps([{**issuer, "secret_file": str(tmp_path / "secret")}])


@pytest.fixture
def store(own_redis: Any) -> Iterator[RedisStore]:
    made = RedisStore(own_redis.url)
    yield made
    made.close()


def bearer(user: str = "alice") -> str:
    claims = {"iss": ISS, "sub": user, "iat": time.time() - 5, "exp": time.time() + 600}
    return "Bearer " + jwt.encode(claims, SECRET, algorithm="HS256")


class Link:
    """A connection of Kong that hears beats beside its answers; epoch, heard: of the last beat."""

    def __init__(self, server: Server, chain: list[str] = CHAIN, user: str = "alice") -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(server.run_dir / "express.sock"))
        self._buffer = b""
        self._number = 70_000
        self._chain = chain
        self._authorization = bearer(user)
        self.epoch: int | None = None
        self.heard = 0.0
        self.beats: list[tuple[float, int]] = []
        self.said: list[dict[str, Any]] = []
        """All that was read, in its order."""

    def send(self) -> int:
        """Ask, and do not wait."""
        self._number += 1
        record = facts_of(f"{self._number:032x}", authorization=self._authorization)
        self._socket.sendall(msgpack.packb(["M", chain_of(*self._chain), record, self._number]))
        return self._number

    def ask(self) -> dict[str, Any]:
        number = self.send()
        while True:
            found = self._next(30)
            assert found is not None
            if found["q"] == number:
                break
        if found.get("e") == "config":
            self._tell()
            return self.ask()
        return found

    def leased(self) -> dict[str, Any]:
        """Ask until there is a lease; the answer with it."""
        for _ in range(LASTS_FROM + 2):
            found = self.ask()
            if "l" in found:
                return found
        raise AssertionError(f"no lease: {found}")

    def listen(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Read what comes by itself."""
        end = time.monotonic() + seconds
        while not until() and (left := end - time.monotonic()) > 0:
            self._next(left)

    def _tell(self) -> None:
        """The configs, as Kong does where they are not known."""
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(self._socket.getpeername())
            other.sendall(msgpack.packb(["d", chain_of(*self._chain), facts_of("r"), self._chain]))
            other.recv(1 << 16)

    def _next(self, seconds: float) -> dict[str, Any] | None:
        while len(self._buffer) < 4 or len(self._buffer) < 4 + int.from_bytes(self._buffer[:4], "big"):
            if not select.select([self._socket], [], [], seconds)[0]:
                return None
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError
            self._buffer += data
        size = 4 + int.from_bytes(self._buffer[:4], "big")
        found: dict[str, Any] = msgpack.unpackb(self._buffer[4:size])
        self._buffer = self._buffer[size:]
        self.said.append(found)
        if found["q"] == 0:
            self.epoch, self.heard = found["b"], time.monotonic()
            self.beats.append((self.heard, self.epoch))
        return found

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_the_fourth_request_gets_a_lease_and_beats_keep_it_up(serve: Serve, issuers: str) -> None:
    def holds(server: Server) -> None:
        with Link(server) as link:
            answers = [link.ask() for _ in range(LASTS_FROM)]
            assert ["l" in each for each in answers] == [False] * (LASTS_FROM - 1) + [True]
            milliseconds, epoch = answers[-1]["l"]
            assert 9_000 < milliseconds <= 10_000
            assert link.said[-2] == {"b": epoch, "q": 0}, "a beat goes before it"
            began = time.monotonic()
            link.listen(0.5)
            assert {each for _, each in link.beats} == {epoch}
            gaps = [b[0] - a[0] for a, b in zip(link.beats, link.beats[1:], strict=False)]
            assert max(gaps) < SILENT
            assert len(link.beats) > (time.monotonic() - began) / 0.05
            assert link.ask().keys() == {"r", "n", "q"}
            assert link.epoch == epoch

    undisturbed(serve, holds, workers=1, issuers=issuers)


def test_a_block_takes_leases_back_before_any_later_answer(
    serve: Serve, own_redis: Any, store: RedisStore, issuers: str
) -> None:
    blocks.add(store, "192.0.2.1", actor="kim")
    server = serve(workers=1, redis=own_redis.url, issuers=issuers)
    took = []
    with Link(server) as link:
        for number in range(10):
            epoch = link.leased()["l"][1]
            blocks.add(store, f"203.0.113.{number}", actor="kim")
            added = time.monotonic()
            link.listen(within(3), lambda: link.epoch != epoch)  # noqa: B023 - called in this round alone
            assert link.epoch != epoch
            took.append(link.heard - added)
        epoch = link.leased()["l"][1]
        blocks.add(store, "198.51.100.7", actor="kim")
        while "st" not in (found := link.ask()):
            pass
        assert found["rs"] == "ip_blocked"
        before = link.said[: link.said.index(found)]
        assert [each["b"] for each in before if "b" in each][-1] != epoch, (
            "the lease was over when it was said"
        )
        link.listen(0.3)
        assert "l" not in link.ask()
    took.sort()
    assert took[-2] < within(0.1), took


def test_a_server_that_stands_still_vouches_for_nothing_and_begins_anew(serve: Serve, issuers: str) -> None:
    server = serve(workers=1, issuers=issuers)
    (worker,) = server.workers()
    with Link(server) as link:
        epoch = link.leased()["l"][1]
        os.kill(worker, signal.SIGSTOP)
        try:
            stopped = time.monotonic()
            link.listen(0.4)
            assert link.heard - stopped < 0.05, "what was on its way"
            number = link.send()
        finally:
            os.kill(worker, signal.SIGCONT)
        link.listen(within(2), lambda: link.said[-1]["q"] == number)
        found = link.leased() if "l" not in link.said[-1] else link.said[-1]
        assert found["l"][1] != epoch
        assert link.epoch == found["l"][1]
        since = link.said.index(next(each for each in link.said if each.get("q") == number))
        assert all(each["l"][1] != epoch for each in link.said[since:] if "l" in each)


def test_a_process_that_takes_a_connection_over_says_another_epoch(serve: Serve, issuers: str) -> None:
    server = serve(workers=1, issuers=issuers)
    with Link(server) as link:
        epoch = link.leased()["l"][1]
        generation = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: bool(server.workers()) and not generation & set(server.workers()), 20)
        link.listen(0.05)  # what the one before had said
        heard = len(link.beats)
        link.listen(0.3)
        assert len(link.beats) == heard, "nobody vouches for what the one before gave"
        found = link.leased()
        assert found["l"][1] != epoch
        assert {each for _, each in link.beats[heard:]} == {found["l"][1]}


def test_without_leases_there_are_none(serve: Serve, issuers: str) -> None:
    server = serve("--no-leases", workers=1, issuers=issuers)
    with Link(server) as link:
        answers = [link.ask() for _ in range(LASTS_FROM + 3)]
        assert answers[-1].keys() == {"r", "n", "q"}
        link.listen(0.2)
        assert link.beats == []
        assert not any("l" in each for each in link.said)


def test_an_open_breaker_takes_leases_back(serve: Serve, issuers: str) -> None:
    """It is no part of the control state: the process looks at it 40 times a second."""
    breaker = {"minimum_calls": 4, "open_seconds": 600}
    responses = [{"on": ["open"], "status": 503}]
    chain = [*CHAIN, "static-fallback", json.dumps({"responses": responses, "breaker": breaker})]
    server = serve(workers=1, issuers=issuers)
    with Link(server, chain) as link:
        found = link.leased()
        row = ["orders", "order", "food", "502", "502", "1", "3", "error", "refused", "", found["m"], "ip"]
        with Asker(server.run_dir / "express.sock") as asker:
            asker.ask(["c", "b-1", 0, pack_rows([f"r{number}", *row] for number in range(4))])
        link.listen(within(5), lambda: link.epoch != found["l"][1])
        assert link.epoch != found["l"][1]
        assert link.ask()["st"] == 503
