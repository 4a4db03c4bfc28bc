"""kgate render with secrets: printed nowhere, in a file that only its owner reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import exit_codes
from cli.main import main

SOURCE = """_format_version: "3.0"
consumers:
- username: a
  keyauth_credentials: [{name: k, key: !env KEY}]
  jwt_secrets: [{key: iss, secret: '${{ env "JWT" }}'}]
plugins:
- {name: rate-limiting, config: {minute: 1, policy: redis, redis: {host: r, password: "in-clear-here"}}}
"""


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", "key-secret")
    monkeypatch.setenv("JWT", "jwt-secret")
    Path("gateway.yaml").write_text(SOURCE)
    return lambda *args: CliRunner().invoke(main, ["render", *args])


def test_on_a_terminal(render: Callable[..., Result]) -> None:
    result = render()
    assert result.exit_code == 0
    assert "!env KEY" in result.stdout
    for secret in ("key-secret", "jwt-secret", "in-clear-here"):
        assert secret not in result.stdout
    for secret in ("key-secret", "jwt-secret"):
        assert secret not in result.stderr


def test_what_came_from_the_environment_is_hidden_in_any_field(
    render: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "token-secret")
    headers = '["Authorization:Bearer ${{ env "TOKEN" }}"]'
    plugin = f"- {{name: request-transformer, config: {{add: {{headers: {headers}}}}}}}\n"
    Path("gateway.yaml").write_text(SOURCE + plugin)
    result = render()
    assert result.exit_code == 0
    assert '"[masked]"' in result.stdout
    assert "token-secret" not in result.output
    assert render("-o", "kong.json").exit_code == 0
    assert "Bearer token-secret" in Path("kong.json").read_text()


def test_the_exact_bytes_are_not_printed(render: Callable[..., Result]) -> None:
    result = render("--output", "json")
    assert result.exit_code == exit_codes.USAGE
    assert "write it with -o FILE" in result.stderr


def test_in_a_file(render: Callable[..., Result]) -> None:
    assert render("-o", "kong.json").exit_code == 0
    assert Path("kong.json").stat().st_mode & 0o777 == 0o600
    consumer = json.loads(Path("kong.json").read_text())["consumers"][0]
    assert consumer["keyauth_credentials"][0]["key"] == "key-secret"
    assert consumer["jwt_secrets"][0]["secret"] == "jwt-secret"


def test_a_secret_that_is_not_there(render: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY")
    assert render().exit_code == 0
    result = render("-o", "kong.json")
    assert result.exit_code == exit_codes.FAILED
    assert "!env KEY: the environment variable is not set" in result.stderr
    assert not Path("kong.json").exists()
