"""`strategy` of the cluster file: in which waves DB-less nodes are written, and that the option goes before it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from tests.decl.admin_stub import AdminStub, Answer, Seen, admin_stub


class Nodes:
    """Three of them, each of which takes its time: until all are written at once, or nobody else comes."""

    def __init__(self, stubs: list[AdminStub]) -> None:
        self.stubs = stubs
        self.begin()

    def begin(self) -> None:
        """Look anew."""
        self.waves: list[int] = []
        self._now, self._mutex = 0, threading.Lock()
        self._all = threading.Event()
        for stub in self.stubs:
            stub.on_post = self._post

    def _post(self, seen: Seen) -> Answer | None:
        with self._mutex:
            if self._now == 0:
                self.waves.append(0)
            self._now += 1
            self.waves[-1] += 1
            if self._now == 3:
                self._all.set()
        self._all.wait(0.06)
        with self._mutex:
            self._now -= 1
        return None


@pytest.fixture
def nodes(own_folder: Path) -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes([stack.enter_context(admin_stub()) for _ in range(3)])


def files(nodes: Nodes, strategy: str | None, host: str = "a") -> None:
    cluster = {"nodes": [stub.url for stub in nodes.stubs], **({"strategy": strategy} if strategy else {})}
    services = [{"name": "a", "url": f"http://{host}"}]
    document = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": services}
    Path("gateway.yaml").write_text(json.dumps(document))


def kgate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result


WAVES = {"canary": [1, 2], "rolling": [1, 1, 1], "all-at-once": [3]}


@pytest.mark.parametrize("strategy", [None, *WAVES])
def test_of_the_file(nodes: Nodes, strategy: str | None) -> None:
    files(nodes, strategy)
    kgate("sync", "--yes")
    assert nodes.waves == WAVES[strategy or "rolling"]
    assert len({stub.hash for stub in nodes.stubs}) == 1


@pytest.mark.parametrize(
    ("file", "option"), [("rolling", "all-at-once"), ("all-at-once", "canary"), (None, "canary")]
)
def test_the_option_goes_before_it(nodes: Nodes, file: str | None, option: str) -> None:
    files(nodes, file)
    kgate("sync", "--yes", "--strategy", option)
    assert nodes.waves == WAVES[option]


def test_a_rollback_has_it_too(nodes: Nodes) -> None:
    files(nodes, "all-at-once")
    kgate("sync", "--yes")
    files(nodes, "all-at-once", "b")
    kgate("sync", "--yes")
    nodes.begin()
    kgate("rollback", "--yes")
    assert nodes.waves == [3]


@pytest.mark.parametrize(("strategy", "written"), [("canary", 1), ("all-at-once", 3)])
def test_who_pays_when_the_first_node_fails(nodes: Nodes, strategy: str, written: int) -> None:
    files(nodes, strategy)
    nodes.stubs[0].on_post = lambda _: Answer(403, "")
    told = kgate("sync", "--yes", code=exit_codes.FAILED if written == 1 else exit_codes.ROLLED_BACK).stdout
    assert sum(bool(stub.posts) for stub in nodes.stubs) == written
    assert told.count("not tried") == 3 - written


def test_another_word_is_a_finding(nodes: Nodes) -> None:
    files(nodes, "blue-green")
    result = kgate("sync", "--yes", code=exit_codes.FINDINGS)
    assert "error[" in result.stderr
    assert "canary, rolling, all-at-once" in result.stderr
    assert not any(stub.seen for stub in nodes.stubs)
