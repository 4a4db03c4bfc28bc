"""What the documentation says to type works."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from cli.main import main
from tests.docs.blocks import PAGES, ROOT, Block, blocks, kgate_commands
from tests.ports import free_port
from tests.redis_server import RedisServer

ALL = [block for page in PAGES for block in blocks(page)]
RUN = [page for page in PAGES if any(not block.why_not for block in blocks(page))]
PORTS = ("8000", "8001", "8100", "9000", "9001", "9542")
"""Ports that pages use; a test takes free ones instead."""


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_every_kgate_command_has_its_options(block: Block) -> None:
    """Also where a block is not run: a renamed option is found."""
    for words in kgate_commands(block):
        check(main, "kgate", words, block)


def check(command: click.Command, name: str, words: list[str], block: Block) -> None:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        rest = list(words)
        while rest and rest[0].startswith("-"):
            if rest[0] in ("--version", "--help", "-h"):
                return
            rest = rest[2:]  # -f FILE
        if not rest:
            return
        member = command.get_command(context, rest[0])
        assert member is not None, f"{block.name}: {name} {rest[0]}: there is no such command"
        check(member, f"{name} {rest[0]}", rest[1:], block)
        return
    known = {opt for param in command.params for opt in (*param.opts, *param.secondary_opts)} | {
        "--help",
        "-h",
    }
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            option = word.split("=")[0]
            assert option in known or option[:2] in known, f"{block.name}: {name} {option}: no such option"


def test_no_block_is_skipped_silently() -> None:
    """A reason is a sentence, not a word."""
    for block in ALL:
        assert not block.why_not or len(block.why_not.split()) > 1, block.name


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, own_redis: RedisServer) -> None:
    script = ["set -euo pipefail"]
    for block in blocks(page):
        if not block.why_not:
            script += [f"echo '### {block.name}' >&2", block.text]
    ports = {port: str(free_port()) for port in PORTS}

    def here(text: str) -> str:
        text = text.replace("redis://127.0.0.1:6379/0", own_redis.url).replace(
            "/tmp/kgate", f"{tmp_path}/run"
        )
        return re.sub(r"(?<=[: ])(\d{4})\b", lambda match: ports.get(match[1], match[1]), text)

    text = here("\n".join(script))
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "examples").rglob("*.yaml"):
        path.write_text(here(path.read_text("utf-8")), encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "USER": "docs",
        "LANG": "C.UTF-8",
    }
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", text], cwd=tmp_path, env=environ, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        code = process.wait(280)
    finally:
        end_session(process.pid)  # what the page started in the background
        process.wait()
    assert code == 0, said.read_text("utf-8", "replace")[-4000:]


def end_session(session: int) -> None:
    """End all processes of a session, first politely: `kgate serve` ends its own."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + patience
        for pid in members(session):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while members(session) and time.monotonic() < until:
            time.sleep(0.02)


def members(session: int) -> list[int]:
    """The live processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, sid = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found
