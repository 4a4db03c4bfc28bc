import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main
from tests.decl.admin_stub import EMPTY, AdminStub, Answer, admin_stub

RUN = CliRunner()


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGATE_HISTORY", str(tmp_path / "history"))
    monkeypatch.delenv("REDIS_URL", raising=False)


@pytest.fixture
def first() -> Iterator[AdminStub]:
    with admin_stub() as stub:
        yield stub


@pytest.fixture
def second() -> Iterator[AdminStub]:
    with admin_stub() as stub:
        yield stub


def nodes(*stubs: AdminStub) -> list[str]:
    return [part for stub in stubs for part in ("--node", stub.url)]


def test_sync_and_again(project_dir: Path, first: AdminStub, second: AdminStub) -> None:
    result = RUN.invoke(main, ["sync", *nodes(first, second)])
    assert result.exit_code == 0
    assert result.stdout == f"{first.url}: changed\n{second.url}: changed\n"
    assert [post.body for post in first.posts] == [post.body for post in second.posts]
    again = RUN.invoke(main, ["sync", *nodes(first, second)])
    assert (again.exit_code, again.stdout) == (0, f"{first.url}: unchanged\n{second.url}: unchanged\n")
    assert len(first.posts) == 2, "the adapter, and the config"


def test_nodes_headers_and_timeout_of_the_file(project_dir: Path, first: AdminStub) -> None:
    text = Path("gateway.yaml").read_text()
    settings = (
        f"one: {{nodes: ['{first.url}/'], admin: {{headers: {{Kong-Admin-Token: secret}}, timeout: 2}}}}"
    )
    Path("gateway.yaml").write_text(
        text.replace('one: {nodes: ["http://127.0.0.1:9"], trusted_ips: []}', settings)
    )
    result = RUN.invoke(main, ["sync", "--cluster", "one", "--yes"])
    assert result.exit_code == 0, result.stderr
    assert first.posts[0].headers["kong-admin-token"] == "secret"
    assert "secret" not in result.output


def test_an_admin_header_of_the_environment(
    project_dir: Path, first: AdminStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "token-of-the-admin")
    text = Path("gateway.yaml").read_text()
    admin = f"one: {{nodes: ['{first.url}'], admin: {{headers: {{Kong-Admin-Token: !env ADMIN_TOKEN}}}}}}"
    Path("gateway.yaml").write_text(
        text.replace('one: {nodes: ["http://127.0.0.1:9"], trusted_ips: []}', admin)
    )
    result = RUN.invoke(main, ["sync", "--yes"])
    assert result.exit_code == 0, result.stderr
    assert {seen.headers.get("kong-admin-token") for seen in first.seen} == {"token-of-the-admin"}
    assert "token-of-the-admin" not in result.output
    assert b"token-of-the-admin" not in first.posts[0].body
    monkeypatch.delenv("ADMIN_TOKEN")
    seen = len(first.seen)
    result = RUN.invoke(main, ["sync", "--yes"])
    assert result.exit_code == exit_codes.FAILED
    assert "ADMIN_TOKEN" in result.stderr
    assert len(first.seen) == seen


def test_a_node_by_a_dns_name(project_dir: Path, first: AdminStub, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "kong.internal" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    port = urlsplit(first.url).port
    result = RUN.invoke(main, ["sync", "--node", f"dns+http://kong.internal:{port}"])
    assert (result.exit_code, result.stdout) == (0, f"{first.url}: changed\n"), result.stderr
    assert len(first.posts) == 2
    result = RUN.invoke(main, ["sync", "--node", "dns+http://nobody.invalid:8001"])
    assert result.exit_code == exit_codes.FAILED
    assert "nobody.invalid has no address" in result.stderr


def test_findings_push_nothing(project_dir: Path, first: AdminStub) -> None:
    with Path("gateway.yaml").open("a") as file:
        file.write("nope: 1\n")
    result = RUN.invoke(main, ["sync", *nodes(first)])
    assert result.exit_code == exit_codes.FINDINGS
    assert "gateway.yaml:15:1: error[unknown-field]: unknown field 'nope'" in result.stderr
    report = RUN.invoke(main, ["sync", "--output", "json", *nodes(first)])
    assert report.exit_code == exit_codes.FINDINGS
    assert json.loads(report.stdout)["errors"] == 1
    assert first.seen == []


def test_the_first_node_fails(project_dir: Path, first: AdminStub, second: AdminStub) -> None:
    first.on_post = lambda _: Answer(403, "")
    result = RUN.invoke(main, ["sync", *nodes(first, second)])
    assert result.exit_code == exit_codes.FAILED
    assert f"{first.url}: failed: refused access (HTTP 403)" in result.stdout
    assert f"{second.url}: not tried: a node before it failed" in result.stdout


def test_the_second_node_fails(project_dir: Path, first: AdminStub, second: AdminStub) -> None:
    second.on_post = lambda _: Answer(
        400,
        {"flattened_errors": [{"entity_type": "route", "entity_name": "cart", "errors": [{"message": "m"}]}]},
    )
    result = RUN.invoke(main, ["sync", "--output", "json", *nodes(first, second)])
    assert result.exit_code == exit_codes.ROLLED_BACK
    report = json.loads(result.stdout)
    first_hash = hashlib.md5(first.posts[1].body).hexdigest()
    assert (report["version"], report["cluster"], report["hash"]) == (1, "one", first_hash)
    assert len(first.posts) == 3
    assert first.hash == EMPTY, "as before"
    assert (len(second.posts), second.hash) == (1, EMPTY), "nothing to bring back"
    assert [node["state"] for node in report["nodes"]] == ["returned", "failed"]
    finding = report["nodes"][1]["findings"][0]
    assert (finding["file"], finding["line"], finding["message"]) == ("gateway.yaml", 12, "route 'cart': m")


def test_a_node_that_is_away(project_dir: Path) -> None:
    result = RUN.invoke(main, ["sync"])
    assert result.exit_code == exit_codes.FAILED
    assert result.stdout == "http://127.0.0.1:9: failed: is away: Connection refused\n"


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ("{mode: db}", "kgate: cluster 'one' has no nodes; name them in the file"),
        ("{mode: dbless}", "kgate: cluster 'one' has no nodes; name them in the file"),
        ("{nodes: ['http://x'], admin: {ca: gone.pem}}", "kgate: cluster 'one': there is no file gone.pem"),
    ],
)
def test_wrong_usage(project_dir: Path, cluster: str, message: str) -> None:
    text = Path("gateway.yaml").read_text()
    Path("gateway.yaml").write_text(text.replace('{nodes: ["http://127.0.0.1:9"], trusted_ips: []}', cluster))
    result = RUN.invoke(main, ["sync"])
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr.startswith(message)


def test_a_node_that_is_no_url(project_dir: Path) -> None:
    result = RUN.invoke(main, ["sync", "--node", "kong:8001"])
    assert result.exit_code == exit_codes.USAGE
    assert result.stderr == "kgate: 'kong:8001' is no Admin API URL; write --node http://HOST:8001\n"
