"""rollback in DB mode: what Kong tells of an entity and does not take back is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import exit_codes
from cli.main import main
from tests.decl.db_node import DbNode
from tests.decl.test_http import certificate


@pytest.fixture(autouse=True)
def folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch, node: DbNode) -> None:
    monkeypatch.setenv("KGATE_DEBUG", "1")


def kgate(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="kgate")
    assert result.exit_code == code, result.output
    return result.stdout


def write(node: DbNode, tags: list[str], **lists: Any) -> None:
    one = {"mode": "db", "nodes": [node.admin], "proxy": [node.proxy]}
    services = [{"name": "cart", "url": "http://cart", "tags": tags}]
    document = {"_format_version": "3.0", "clusters": {"one": one}, "services": services, **lists}
    Path("gateway.yaml").write_text(json.dumps(document))


def test_the_names_of_a_certificate_stay(node: DbNode, tmp_path: Path) -> None:
    certificate(tmp_path, "a", None)
    both = {"cert": (tmp_path / "a.pem").read_text(), "key": (tmp_path / "a.key").read_text()}
    names = [{"name": "a.example", "id": "3f9f6d8c-9e1f-4a52-8c1e-0b6f1f7a2d10"}, {"name": "b.example"}]
    write(node, ["old"], certificates=[{**both, "snis": names}])
    kgate("sync", "--yes")
    before = node.state()
    write(node, ["new"], certificates=[{**both, "tags": ["new"], "snis": names[:1]}])
    kgate("sync", "--yes")
    kgate("rollback", "--yes")
    assert node.state() == before


def test_secrets_that_kong_drew_or_hashed_stay(node: DbNode) -> None:
    def kim(tags: list[str]) -> list[dict[str, Any]]:
        credentials = {
            "hmacauth_credentials": [{"username": "kim", "tags": tags}],
            "jwt_secrets": [{"key": "kim", "tags": tags}],
            "basicauth_credentials": [{"username": "kim", "password": "sesame", "tags": tags}],
        }
        return [{"username": "kim", **credentials}]

    write(node, ["old"], consumers=kim(["old"]))
    kgate("sync", "--yes")
    before = node.state()
    write(node, ["new"], consumers=kim(["new"]))
    kgate("sync", "--yes")
    between = node.state()
    for kind, field in (("hmacauth_credentials", "secret"), ("jwt_secrets", "secret")):
        (one,), (two,) = before[kind].values(), between[kind].values()
        assert one[field] == two[field]
    kgate("rollback", "--yes")
    assert node.state() == before


def test_a_password_that_is_gone_is_told(node: DbNode) -> None:
    """Kong takes no credential without a password, and nobody has it: the rest comes back."""
    kim = {"username": "kim", "basicauth_credentials": [{"username": "kim", "password": "sesame"}]}
    write(node, ["old"], consumers=[kim])
    kgate("sync", "--yes")
    before = node.state()
    write(node, ["new"], consumers=[{"username": "kim"}])
    kgate("sync", "--yes", "--max-deletes", "1")
    told = kgate("rollback", "--yes", code=exit_codes.PARTIAL)
    assert "left deleted: basicauth_credential kim: Kong told only the hash" in told
    assert node.state() == {**before, "basicauth_credentials": {}}
    write(node, ["old"], consumers=[kim])
    kgate("sync", "--yes")
    assert node.state() == before
