"""`admin` of the cluster file: a node that wants a client certificate, and one that never answers."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization

from cli import exit_codes
from cli.main import main
from tests.decl.admin_stub import AdminStub, admin_stub
from tests.decl.test_http import certificate

COMMANDS = [
    ("status",),
    ("diff",),
    ("drift",),
    ("dump",),
    ("schema", "pull"),
    ("validate", "--online"),
    ("sync", "--yes"),
    ("doctor", "-f", "gateway.yaml", "--no-local"),
]
ALL = {"ca": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, the node's certificate and a client's of it, and `other`, which it did not sign."""
    folder = tmp_path_factory.mktemp("keys")
    ca = certificate(folder, "ca", None)
    certificate(folder, "localhost", ca)
    _, key = certificate(folder, "client", ca)
    certificate(folder, "other", None)
    word = serialization.BestAvailableEncryption(b"word")
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, word
    (folder / "locked.key").write_bytes(key.private_bytes(*form))
    both = (folder / "client.pem").read_bytes() + (folder / "client.key").read_bytes()
    (folder / "both.pem").write_bytes(both)
    return folder


@pytest.fixture
def secure(keys: Path) -> Iterator[AdminStub]:
    """A node that wants a client certificate of its CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "localhost.pem", keys / "localhost.key")
    context.load_verify_locations(keys / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with admin_stub(context) as stub:
        yield stub


def kgate(url: str, admin: dict[str, object], *command: str) -> Result:
    cluster = {"nodes": [url], "admin": admin}
    services = [{"name": "a", "url": "http://a"}]
    document = {"_format_version": "3.0", "clusters": {"one": cluster}, "services": services}
    Path("gateway.yaml").write_text(json.dumps(document))
    return CliRunner().invoke(main, command)


def files(keys: Path, **names: str | None) -> dict[str, object]:
    return {what: str(keys / name) for what, name in {**ALL, **names}.items() if name}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_shows_the_certificate(secure: AdminStub, keys: Path, command: tuple[str, ...]) -> None:
    result = kgate(secure.url, files(keys), *command)
    assert secure.seen, result.output
    assert "TLS failed" not in result.output


def test_a_sync_over_tls(secure: AdminStub, keys: Path) -> None:
    one_file = files(keys, client_cert="both.pem", client_key=None)
    for admin in (files(keys), one_file):
        result = kgate(secure.url, admin, "sync", "--yes")
        assert result.exit_code == exit_codes.OK, result.output
    assert len(secure.posts) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_cert": None, "client_key": None}, "check admin.ca and admin.client_cert"),
        ({"client_cert": "other.pem", "client_key": "other.key"}, "check admin.ca and admin.client_cert"),
        ({"ca": "other.pem"}, "TLS failed"),
        ({"client_key": None}, "client.pem, without admin.client_key: "),
        ({"client_key": "other.key"}, "client.pem, admin.client_key "),
        ({"client_key": "locked.key"}, "its pass phrase cannot be asked for"),
        ({"client_key": "ca.pem"}, "client.pem, admin.client_key "),
        ({"ca": "client.key"}, "client.key: "),
    ],
)
def test_what_is_wrong_is_named(
    secure: AdminStub, keys: Path, wrong: dict[str, str | None], said: str
) -> None:
    result = kgate(secure.url, files(keys, **wrong), "sync", "--yes")
    assert result.exit_code == exit_codes.FAILED, result.output
    assert said in result.output
    assert "is away" not in result.output
    assert secure.seen == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_tells_of_a_refused_certificate(
    secure: AdminStub, keys: Path, command: tuple[str, ...]
) -> None:
    result = kgate(secure.url, files(keys, client_cert=None, client_key=None), *command)
    assert result.exit_code == exit_codes.FAILED, result.output
    assert f"{secure.url}: " in result.output
    assert "check admin.ca and admin.client_cert" in result.output
    assert secure.seen == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_files_that_are_not_there(secure: AdminStub, keys: Path, command: tuple[str, ...]) -> None:
    result = kgate(secure.url, {**files(keys), "ca": "gone.pem"}, *command)
    assert result.exit_code == exit_codes.USAGE
    assert "cluster 'one': there is no file gone.pem (admin.ca)" in result.stderr
    result = kgate(secure.url, files(keys, client_cert=None), *command)
    assert result.exit_code == exit_codes.USAGE
    assert "cluster 'one': admin.client_key without admin.client_cert" in result.stderr


@pytest.fixture
def hung() -> Iterator[str]:
    """A node that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_node_that_hangs_is_given_up_after_the_clusters_timeout(
    hung: str, command: tuple[str, ...]
) -> None:
    began = time.monotonic()
    result = kgate(hung, {"timeout": 0.15}, *command)
    assert time.monotonic() - began < 5
    assert result.exit_code == exit_codes.FAILED, result.output
    assert f"{hung}: " in result.output
    assert "gave no answer within 0.15 s" in result.output
