"""kgate sandbox as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = [sys.executable, "-c", "from cli.commands.sandbox import command; command()", "--lane", "express"]


@contextlib.contextmanager
def sandbox(*args: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*RUN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_prints_where_it_is_and_stops_at_sigterm(tmp_path: Path) -> None:
    file = tmp_path / "kong.json"
    file.write_text('{"_format_version": "3.0", "services": [{"name": "s", "url": "http://127.0.0.1:1"}]}')
    free = ["--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    with sandbox("--run-dir", str(tmp_path), "-f", str(file), "--output", "json", *free) as process:
        assert process.stdout
        line = json.loads(process.stdout.readline())
        assert "not Kong" in line["notice"]
        assert line["pid"] == process.pid
        with urllib.request.urlopen(line["admin"] + "/services/s", timeout=5) as response:
            assert json.load(response)["name"] == "s"
        with urllib.request.urlopen(line["admin"] + "/", timeout=5) as response:
            assert json.load(response)["plugins"]["available_on_server"]["kgate"]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.parametrize("case", ["port", "file", "config"])
def test_one_clear_line_and_exit_1(tmp_path: Path, case: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1] if case == 'port' else 0}"
        args = ["--run-dir", str(tmp_path), "--proxy-listen", listen, "--admin-listen", "127.0.0.1:0"]
        file = tmp_path / "kong.json"
        if case == "config":
            file.write_text('{"_format_version": "3.0", "plugins": [{"name": "nope"}]}')
        if case in ("file", "config"):
            args += ["-f", str(file)]
        with sandbox(*args) as process:
            _, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert {"port": listen, "file": str(file), "config": "plugin 'nope' not enabled"}[case] in err
