"""kgate sandbox as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pace import within

RUN = [sys.executable, "-m", "cli.main", "sandbox", "--lane", "express"]
FREE = ["--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--output", "json"]


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


def line(process: subprocess.Popen[str]) -> Any:
    assert process.stdout
    return json.loads(process.stdout.readline())


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as e:
        e.close()
        return e.code


def cpu_seconds(pid: int) -> float:
    """What a process has used: the same on a busy machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kong_file(path: Path, route: str = "/r") -> Path:
    config = {
        "_format_version": "3.0",
        "services": [
            {
                "name": "s",
                "url": "http://127.0.0.1:1",
                "retries": 0,
                "routes": [{"name": "r", "paths": [route]}],
            }
        ],
        "plugins": [{"name": "request-termination", "config": {"status_code": 418}}],
    }
    return put(path, json.dumps(config))


def put(path: Path, text: str) -> Path:
    """Write it in one step, as editors do: who watches the file never sees half of it."""
    new = path.with_suffix(".new")
    new.write_text(text)
    return new.replace(path)


def test_prints_where_it_is_and_stops_at_sigterm(tmp_path: Path) -> None:
    file = kong_file(tmp_path / "kong.json")
    with sandbox("--run-dir", str(tmp_path), "-f", str(file), *FREE) as process:
        told = line(process)
        assert cpu_seconds(process.pid) < within(1.0)  # so that it starts in less than 1.5 s
        assert "not Kong" in told["notice"]
        assert told["pid"] == process.pid
        assert status(told["admin"] + "/services/s") == 200
        with urllib.request.urlopen(told["admin"] + "/", timeout=30) as response:
            assert json.load(response)["plugins"]["available_on_server"]["kgate"]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.parametrize("case", ["port", "file", "config"])
def test_one_clear_line_and_exit_1(tmp_path: Path, case: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if case == "port" else 0
        listen = ["--proxy-listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0"]
        args = ["--run-dir", str(tmp_path), *listen]
        file = tmp_path / "kong.json"
        if case == "config":
            file.write_text('{"_format_version": "3.0", "plugins": [{"name": "nope"}]}')
        if case in ("file", "config"):
            args += ["-f", str(file)]
        with sandbox(*args) as process:
            _, err = process.communicate(timeout=50)
    assert process.returncode == (2 if case == "file" else 1)
    assert err.startswith("kgate: ")
    assert err.count("\n") == 1
    expected = {"port": [f"port {port} ", "--proxy-listen"], "file": [str(file)]}
    for text in expected.get(case, ["plugin 'nope' not enabled"]):
        assert text in err


def test_watch_takes_a_change_keeps_the_old_on_an_error_and_logs_requests(tmp_path: Path) -> None:
    file = kong_file(tmp_path / "kong.json")
    with sandbox("--run-dir", str(tmp_path), "-f", str(file), "--watch", *FREE) as process:
        proxy = line(process)["proxy"]
        assert status(proxy + "/r/x") == 418
        seen = line(process)
        assert (seen["event"], seen["method"], seen["path"], seen["status"]) == (
            "request",
            "GET",
            "/r/x",
            418,
        )
        assert (seen["route"], seen["upstream"]) == ("r", "")
        kong_file(file, "/q")
        taken = line(process)
        assert (taken["event"], taken["ok"]) == ("reload", True)
        assert [status(proxy + path) for path in ("/r", "/q")] == [404, 418]
        assert [line(process)["status"] for _ in range(2)] == [404, 418]
        put(file, '{"_format_version": "3.0", "services": 7}')
        refused = line(process)
        assert (refused["ok"], len(refused["errors"])) == (False, 1)
        assert "services" in refused["errors"][0]
        assert status(proxy + "/q") == 418


def test_nodes_have_their_own_files_and_nothing_is_left_after_kill_9(tmp_path: Path) -> None:
    files = [kong_file(tmp_path / name, f"/{name}") for name in ("a", "b")]
    args = ["--nodes", "2", "--workers", "2", *(arg for file in files for arg in ("-f", str(file)))]
    with sandbox("--run-dir", str(tmp_path), *args, *FREE) as process:
        nodes = line(process)["nodes"]
        found = [[status(node["proxy"] + path) for path in ("/a", "/b")] for node in nodes]
        assert found == [[418, 404], [404, 418]]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert children == ""
        process.kill()
        process.wait(30)
        for node in nodes:
            with pytest.raises(OSError, match="refused"):
                urllib.request.urlopen(node["proxy"], timeout=30)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--watch"], "nothing to watch"),
        (["--nodes", "3", "-f", "a", "-f", "b"], "once for each of 3"),
    ],
)
def test_wrong_usage(tmp_path: Path, args: list[str], text: str) -> None:
    with sandbox("--run-dir", str(tmp_path), *args) as process:
        _, err = process.communicate(timeout=50)
    assert process.returncode == 2
    assert text in err


def test_says_that_it_stood_still() -> None:
    with sandbox(*FREE) as process:
        assert status(line(process)["admin"]) == 200, "its loop runs"
        assert process.stderr
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        process.send_signal(signal.SIGCONT)
        for said in process.stderr:
            if "stood still" in said:
                break
        else:
            raise AssertionError("it said nothing")
        assert int(said.split("still for ")[1].split()[0]) >= 250, said
