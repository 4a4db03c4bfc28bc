"""deploy/systemd/kgate.service: as systemd reads it, and that `kgate serve` takes its command line."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from cli.commands.serve import command as serve
from tests.deploy.composed import ROOT

UNIT = (ROOT / "deploy/systemd/kgate.service").read_text()


def values(name: str) -> list[str]:
    text = UNIT.replace("\\\n", "")
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{name}=")]


def test_systemd_takes_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    unit = tmp_path / "kgate.service"
    unit.write_text(UNIT.replace("/opt/kgate/bin/kgate", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_server_takes_its_options() -> None:
    words = shlex.split(values("ExecStart")[0])
    assert words[1] == "serve"
    context = serve.make_context("serve", words[2:])
    assert isinstance(context, click.Context)
    taken = context.params
    assert (taken["run_dir"], taken["group"]) == (Path("/run/kgate"), values("Group")[0])
    assert taken["run_dir"] == Path("/run") / values("RuntimeDirectory")[0]
    assert taken["state_dir"] == Path("/var/lib") / values("StateDirectory")[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RuntimeDirectoryMode", "0750"),
        ("RuntimeDirectoryPreserve", "restart"),
        ("StateDirectoryMode", "0700"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("User", "kgate"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("CapabilityBoundingSet", ""),
        ("Restart", "always"),
        ("KillMode", "mixed"),
    ],
)
def test_what_it_sets(name: str, expected: str) -> None:
    assert values(name) == [expected]


def test_what_the_server_needs_is_not_forbidden() -> None:
    """The run dir's setgid bit, chown to the common group, its own limits, a lower priority for background work."""
    assert values("RestrictSUIDSGID") == ["no"]
    assert {"@chown", "setrlimit", "prlimit64", "setpriority"} <= set(values("SystemCallFilter")[-1].split())
    assert set(values("RestrictAddressFamilies")[0].split()) == {"AF_UNIX", "AF_INET", "AF_INET6"}
