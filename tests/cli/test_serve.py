"""kgate serve, plugin-info and kong-env as a person or a unit file starts them."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from click.testing import CliRunner

from cli.commands.kong_env import command as kong_env
from cli.commands.plugin_info import command as plugin_info
from cli.commands.serve import command as serve
from kong_plugins.engine.registry import PLUGINS
from kong_plugins.kong_env import kong_env as settings
from kong_plugins.server.options import worker_command

KGATE = [sys.executable, "-m", "cli.main"]


class Server:
    """`kgate serve` in a process of its own."""

    def __init__(self, run_dir: Path, *args: str) -> None:
        env = {key: value for key, value in os.environ.items() if key != "REDIS_URL"}
        self.process = subprocess.Popen(
            [*KGATE, "serve", "--run-dir", str(run_dir), "--output", "json", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=40)[1]
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors


@pytest.fixture
def started() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.end(signal.SIGKILL)


@pytest.fixture
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("r") / "run"


def ask(path: Path, message: Any) -> bytes:
    for left in reversed(range(20)):
        with contextlib.suppress(ConnectionError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(path))
            sock.sendall(msgpack.packb(message))
            answer = sock.recv(65536)
            if answer or not left:
                return answer
        time.sleep(0.1)  # a server that the machine held up closes what waited: Kong asks again, too
    return b""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_both_lanes_answer_and_leave_nothing_behind(started: list[Server], run_dir: Path) -> None:
    started.append(server := Server(run_dir))
    told = server.ready()
    assert (told["ready"], told["run_dir"], told["lane"]) == (True, str(run_dir), "both")
    assert (told["pid"], told["workers"]) == (server.process.pid, os.cpu_count())
    assert msgpack.unpackb(ask(run_dir / "express.sock", ["p", "x"])[8:]) == {"e": "unknown"}
    for name in PLUGINS:
        reply = msgpack.unpackb(ask(run_dir / f"{name}.sock", [0, 1, "plugin.GetPluginInfo", [name]]))
        assert reply[3]["Name"] == name
    assert mode(run_dir) == 0o750
    assert {mode(path) for path in run_dir.glob("*.sock")} == {0o660}
    code, _ = server.end()
    assert code == 0
    assert list(run_dir.glob("*.sock")) == []


@pytest.mark.parametrize(("lane", "sockets"), [("express", 1), ("pdk", 1 + 2 * len(PLUGINS))])
def test_each_lane_opens_its_sockets_and_express_always(
    started: list[Server], run_dir: Path, lane: str, sockets: int
) -> None:
    started.append(server := Server(run_dir, "--lane", lane))
    server.ready()
    found = sorted(path.name for path in run_dir.glob("*.sock"))
    assert len(found) == sockets
    assert "express.sock" in found


def test_a_second_server_in_the_same_run_dir_is_refused_and_harms_nothing(
    started: list[Server], run_dir: Path
) -> None:
    started.append(first := Server(run_dir))
    first.ready()
    started.append(second := Server(run_dir))
    code, errors = second.end(signal.SIGCONT)
    assert code == 1
    assert "another plugin server listens there" in errors
    assert ask(run_dir / "express.sock", ["p", "x"])


def test_sockets_of_a_killed_server_are_taken_over(started: list[Server], run_dir: Path) -> None:
    started.append(first := Server(run_dir))
    first.ready()
    first.end(signal.SIGKILL)
    started.append(second := Server(run_dir))
    second.ready()
    assert ask(run_dir / "express.sock", ["p", "x"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("isuers: []", "unknown field 'isuers'"),
        ("issuers: [{name: a}]", "issuer a"),
        ("redis: {url: 'http://x'}", "http"),
    ],
)
def test_a_bad_config_is_one_line_and_exit_1(
    run_dir: Path, tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "server.yaml"
    path.write_text(text)
    server = Server(run_dir, "--config", str(path))
    _, errors = server.process.communicate(timeout=50)
    assert server.process.returncode == 1
    assert complaint in errors
    assert "Traceback" not in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_run_dir_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(plugin_info, ["--run-dir", str(tmp_path / "file" / "run")])
    assert result.exit_code == 1
    assert str(tmp_path / "file") in result.output


def test_plugin_info_writes_one_file_a_plugin(tmp_path: Path) -> None:
    result = CliRunner().invoke(plugin_info, ["--run-dir", str(tmp_path / "run"), "--output", "json"])
    written = json.loads(result.output)["written"]
    assert [json.loads(Path(path).read_text())[0]["Name"] for path in written] == list(PLUGINS)


@pytest.mark.parametrize("lane", ["pdk", "express"])
def test_kong_env_prints_what_a_shell_can_read(tmp_path: Path, lane: str) -> None:
    args = ["--run-dir", str(tmp_path / "a b"), "--lane", lane]
    expected = settings(tmp_path / "a b", lane)  # type: ignore[arg-type]
    printed = CliRunner().invoke(kong_env, args).stdout
    script = f"set -a\n{printed}\nexec env -0"
    told = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    got = dict(item.split("=", 1) for item in told.stdout.split("\0") if item)
    assert {key: value for key, value in got.items() if key.startswith("KONG_")} == expected
    as_json = CliRunner().invoke(kong_env, [*args, "--format", "json"]).stdout
    assert json.loads(as_json) == expected


def test_kong_env_warns_of_the_timeout_that_others_share() -> None:
    assert "all plugin servers of this Kong" in CliRunner().invoke(kong_env, ["--lane", "pdk"]).stderr
    assert CliRunner().invoke(kong_env, ["--lane", "express"]).stderr == ""


def test_kong_env_for_compose_is_yaml() -> None:
    import yaml

    printed = CliRunner().invoke(kong_env, ["--lane", "express", "--format", "compose"]).stdout
    assert yaml.safe_load(printed)["environment"] == settings(Path("/run/kgate"), "express")


def test_kong_env_says_with_which_group_to_serve() -> None:
    assert "kgate serve --run-dir /run/kgate --group kong" in CliRunner().invoke(kong_env, []).stdout
    printed = CliRunner().invoke(kong_env, ["--group", "gateway"]).stdout
    assert "--group gateway" in printed
    assert "KONG_NGINX_USER='kong gateway'" in printed
    refused = CliRunner().invoke(kong_env, ["--group", "1000"])
    assert (refused.exit_code, "name, not its number" in refused.output) == (2, True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to any group")
def test_the_run_dir_and_its_sockets_are_given_to_the_group(started: list[Server], run_dir: Path) -> None:
    started.append(server := Server(run_dir, "--group", "31007", "--workers", "1"))
    server.ready()
    assert (run_dir.stat().st_gid, mode(run_dir)) == (31007, 0o2750)
    sockets = list(run_dir.glob("*.sock"))
    assert {(path.stat().st_gid, mode(path)) for path in sockets} == {(31007, 0o660)}
    infos = [run_dir / f"{name}.json" for name in PLUGINS]
    assert {path.stat().st_gid for path in infos} == {31007}, "Kong reads them"
    key = run_dir / "passport-key.pem"
    assert mode(key) == 0o600, "the signing key is nobody else's"

    def member(gid: int) -> int:
        """A child of that group and of another user asks: 0 when it gets an answer."""
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        try:
            os.setgroups([gid])  # as a user's further group
            os.setgid(65534)
            os.setuid(65534)
            os._exit(0 if ask(run_dir / "express.sock", ["p", "x"]) else 1)
        finally:
            os._exit(2)

    for folder in run_dir.parents:
        if folder not in (Path("/"), Path("/tmp")):
            folder.chmod(folder.stat().st_mode | 0o011)
    assert member(31007) == 0
    assert member(31008) != 0


def test_an_unknown_group_is_one_line(run_dir: Path) -> None:
    result = CliRunner().invoke(serve, ["--run-dir", str(run_dir), "--group", "no-such-group"])
    assert result.exit_code == 2
    assert "there is none of this name" in result.output


@pytest.mark.parametrize(("args", "leases"), [([], True), (["--leases"], True), (["--no-leases"], False)])
def test_leases_are_given_unless_it_is_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], leases: bool
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("kong_plugins.server.serve.serve", lambda options, *_: seen.append(options))
    found = CliRunner().invoke(serve, ["--run-dir", str(tmp_path / "run"), *args])
    assert found.exit_code == 0, found.output
    (options,) = seen
    assert options.leases is leases
    assert ("--no-leases" in worker_command(options, 3, 4)) is not leases
    assert "--no-leases" in CliRunner().invoke(serve, ["--help"]).output
