"""Sync of a database writes with as many connections at once as it is told, and with no more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from decl import probe
from tests.decl.db_node import DbNode, FaultProxy, fault_proxy

SERVICES = 40


class Together:
    """Before a node: holds the first writes of services by a method until `parties` of them are there."""

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy, self._forward = proxy, proxy.answer
        proxy.answer = self.answer  # type: ignore[method-assign]
        self.begin(1)

    def begin(self, parties: int, method: str = "PUT") -> None:
        """Count anew."""
        self._method = method
        self.parties, self.most, self.alone, self._now = parties, 0, 0, 0
        self.ports: set[int] = set()
        self._first = threading.Semaphore(parties)
        self._barrier = threading.Barrier(parties)
        self._mutex = threading.Lock()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Counts what is under way."""
        if handler.command != self._method or not handler.path.startswith("/services/"):
            self._forward(handler)
            return
        with self._mutex:
            self._now += 1
            self.most = max(self.most, self._now)
            self.ports.add(handler.client_address[1])
        if self._first.acquire(blocking=False):
            try:
                self._barrier.wait(5)
            except threading.BrokenBarrierError:
                self.alone += 1
        self._forward(handler)
        with self._mutex:
            self._now -= 1


@pytest.fixture
def together(node: DbNode, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Together]:
    monkeypatch.setattr(probe, "propagation_time", lambda node: 0.0)
    with fault_proxy(node.admin) as proxy:
        files(proxy.url, SERVICES)
        yield Together(proxy)


def files(url: str, count: int, **fields: object) -> None:
    services = [{"name": f"s{number}", "url": "http://x", **fields} for number in range(count)]
    cluster = {"mode": "db", "nodes": [url], "proxy": []}
    document = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": services}
    Path("gateway.yaml").write_text(json.dumps(document))


def sync(*options: str) -> Result:
    return CliRunner().invoke(main, ["sync", "--yes", "--max-deletes", "100%", *options])


@pytest.mark.parametrize(
    ("options", "workers"), [((), 10), (("--workers", "16"), 16), (("--workers", "3"), 3)]
)
def test_creates(together: Together, node: DbNode, options: tuple[str, ...], workers: int) -> None:
    together.begin(workers)
    result = sync(*options)
    assert result.exit_code == exit_codes.OK, result.output
    assert (together.alone, together.most) == (0, workers)
    assert len(together.ports) == workers  # kept: a connection serves many writes
    assert len(node.state()["services"]) == SERVICES


def test_updates_and_deletes(together: Together, node: DbNode) -> None:
    assert sync().exit_code == exit_codes.OK
    for method, count in (("PUT", SERVICES), ("DELETE", 2)):
        together.begin(10, method)
        files(together.proxy.url, count, retries=1)
        assert sync().exit_code == exit_codes.OK
        assert (together.alone, together.most) == (0, 10)
        assert len(node.state()["services"]) == count


def test_what_is_taken_back(together: Together, node: DbNode) -> None:
    """Undoing must not take ten times as long as what is undone."""
    written: list[str] = []

    def fault(number: int, method: str, path: str) -> str | None:
        if method == "PUT" and path.startswith("/services/"):
            written.append(path)
        return "refuse" if len(written) == SERVICES and path == written[-1] and method == "PUT" else None

    together.proxy.begin(fault)
    together.begin(10, "DELETE")
    result = sync()
    assert result.exit_code == exit_codes.ROLLED_BACK, result.output
    assert (together.alone, together.most) == (0, 10)
    assert not any(node.state().values())
