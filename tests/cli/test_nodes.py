"""Admin API clients of commands that only look: their headers, and what is said when one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main
from cli.nodes import told
from tests.decl.admin_stub import AdminStub, admin_stub

SECRET = "t0ken-of-the-admin"
COMMANDS = [
    ("validate", "--online"),
    ("schema", "pull"),
    ("dump",),
    ("diff",),
    ("drift",),
    ("status",),
    ("sync", "--yes"),
]


@pytest.fixture
def stub() -> Iterator[AdminStub]:
    with admin_stub() as running:
        yield running


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch, stub: AdminStub) -> None:
    monkeypatch.delenv("ADMIN_TOKEN", raising=False)
    (own_folder / "token").write_text(f"{SECRET}-file\n")
    (own_folder / "gateway.yaml").write_text(
        f"""_format_version: "3.0"
clusters:
  one:
    nodes: ["{stub.url}"]
    admin: {{headers: {{Kong-Admin-Token: !env ADMIN_TOKEN, X-Other: !file token, X-Plain: plain}}}}
services:
- {{name: a, url: "http://a", routes: [{{name: a, paths: [/a]}}]}}
"""
    )


def kgate(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, [*arguments], env=env)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_request_has_the_headers(stub: AdminStub, command: tuple[str, ...]) -> None:
    result = kgate(*command, ADMIN_TOKEN=SECRET)
    assert stub.seen
    for seen in stub.seen:
        assert seen.headers["kong-admin-token"] == SECRET
        assert seen.headers["x-other"] == f"{SECRET}-file"
        assert seen.headers["x-plain"] == "plain"
    assert SECRET not in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_variable_that_is_not_set_is_named(stub: AdminStub, command: tuple[str, ...]) -> None:
    result = kgate(*command)
    assert result.exit_code == exit_codes.FAILED, result.output
    assert "cluster 'one': admin.headers: " in result.stderr
    assert "!env ADMIN_TOKEN: the environment variable is not set" in result.stderr
    assert stub.seen == []


def test_a_line_is_told_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    tell = told()
    for line in ("a", "a", "b", "a"):
        tell(line)
    assert capsys.readouterr().err == "kgate: a\nkgate: b\n"
