"""The progress bar of sync and rollback: on a terminal, in both modes, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli import exit_codes
from tests.cli.terminal import ROOT, Ran, on_terminal
from tests.decl.admin_stub import AdminStub, Answer, admin_stub
from tests.decl.db_node import DbNode

SERVICES = "\n".join(
    f"- {{name: s{n}, url: 'http://s{n}', routes: [{{name: r{n}, paths: [/r{n}]}}]}}" for n in range(12)
)


@pytest.fixture
def stubs() -> Iterator[list[AdminStub]]:
    with ExitStack() as stack:
        yield [stack.enter_context(admin_stub()) for _ in range(3)]


def files(folder: Path, mode: str, nodes: list[str]) -> None:
    (folder / "gateway.yaml").write_text(
        f'_format_version: "3.0"\nclusters: {{one: {{mode: {mode}, nodes: {json.dumps(nodes)}}}}}\n'
        f"services:\n{SERVICES}\n"
    )


def kgate(folder: Path, *arguments: str) -> Ran:
    return on_terminal(*arguments, cwd=folder, KGATE_HISTORY=str(folder / "history"), REDIS_URL="")


def test_dbless_counts_the_nodes(tmp_path: Path, stubs: list[AdminStub]) -> None:
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    ran = kgate(tmp_path, "sync", "--yes")
    assert ran.code == 0, ran.screen
    for part in ("one  [", "1/3", "2/3", "3/3"):
        assert part in ran.screen
    assert ran.stdout == "".join(f"{stub.url}: changed\n" for stub in stubs)


def test_a_database_counts_the_changes(tmp_path: Path, node: DbNode) -> None:
    files(tmp_path, "db", [node.admin])
    ran = kgate(tmp_path, "sync", "--yes")
    assert ran.code == 0, ran.screen
    total = int(ran.stdout.split(": ")[1].split()[0])
    assert total > 20
    assert f"{total}/{total}" in ran.screen
    assert f"1/{total}" in ran.screen


def test_nothing_to_do_has_no_bar(tmp_path: Path, stubs: list[AdminStub]) -> None:
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    assert kgate(tmp_path, "sync", "--yes").code == 0
    assert kgate(tmp_path, "sync", "--yes").screen == ""


def test_json_has_no_bar(tmp_path: Path, stubs: list[AdminStub]) -> None:
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    ran = kgate(tmp_path, "sync", "--yes", "--output", "json")
    assert ran.screen == ""
    assert json.loads(ran.stdout)["result"] == "changed"


def test_no_terminal_has_no_bar(tmp_path: Path, stubs: list[AdminStub]) -> None:
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "sync", "--yes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KGATE_HISTORY": str(tmp_path / "h"), "REDIS_URL": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.count("changed") == 3


def test_a_failure_stands_below_the_bar(tmp_path: Path, stubs: list[AdminStub]) -> None:
    stubs[1].on_post = lambda _: Answer(403, {"message": "no"})
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    ran = kgate(tmp_path, "sync", "--yes")
    assert ran.code != 0
    assert "2/3" in ran.screen
    assert "3/3" not in ran.screen
    assert ran.screen.endswith("\n")


def test_a_rollback_has_one_too(tmp_path: Path, stubs: list[AdminStub]) -> None:
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    assert kgate(tmp_path, "sync", "--yes").code == exit_codes.OK
    ran = kgate(tmp_path, "rollback", "--yes")
    assert ran.code == exit_codes.OK, ran.screen
    assert "3/3" in ran.screen


def test_a_busy_node_is_told_of(tmp_path: Path, stubs: list[AdminStub]) -> None:
    busy = Answer(429, {}, (("Retry-After", "0"),))
    stubs[0].on_post = lambda _: busy if len(stubs[0].posts) < 2 else None
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    ran = kgate(tmp_path, "sync", "--yes")
    assert ran.code == 0
    assert f"\r\x1b[Kkgate: {stubs[0].url}: is busy; trying again in 0.1 s\r\n" in ran.screen
    assert ran.stdout.count("changed") == 3


def test_a_node_that_is_busy_for_long_fails_at_once(tmp_path: Path, stubs: list[AdminStub]) -> None:
    stubs[0].on_post = lambda _: Answer(429, {}, (("Retry-After", "3600"),))
    files(tmp_path, "dbless", [stub.url for stub in stubs])
    ran = kgate(tmp_path, "sync", "--yes")
    assert ran.code == exit_codes.FAILED
    assert "asks to be tried again in 3600 s" in ran.stdout
    assert "try again after 20" in ran.stdout
    assert [stub.hash for stub in stubs] == ["0" * 32] * 3
