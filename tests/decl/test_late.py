"""Secrets: read late, hidden when shown, and gone from nothing that is sent."""

import json
import pickle
from pathlib import Path

import pytest
import yaml

from decl.late import MASK, Late, Resolver, Secret, plain, resolved
from decl.load import Text
from decl.model import Gateway
from decl.project import open_project
from decl.render import render
from decl.secret_fields import is_secret, masked
from decl.server_config import server_yaml

SOURCE = """_format_version: "3.0"
consumers:
- username: a
  keyauth_credentials: [{name: k, key: !env KEY}]
  basicauth_credentials: [{username: a, password: !file word.txt}]
  jwt_secrets: [{key: iss, secret: '${{ env "JWT" }}'}]
"""


def opened(source: str, env: dict[str, str], name: str = "conf/gateway.yaml") -> Gateway:
    project = open_project([Text(name, source.encode())], env)
    assert project.gateway is not None, project.findings
    return project.gateway


def test_nothing_is_pushed_before_the_secrets_are_read(tmp_path: Path) -> None:
    (tmp_path / "word.txt").write_text("word\n")
    rendered = render(opened(SOURCE, {"JWT": "jwt-secret"}, str(tmp_path / "gateway.yaml")), "default")
    assert rendered.late
    for name in ("content", "hash"):
        with pytest.raises(ValueError, match="were not read"):
            getattr(rendered, name)
    assert "!env KEY" in str(rendered.document)
    resolver = Resolver({"KEY": "key-secret"}, lambda path: Path(path).read_bytes())
    ready = rendered.resolved(resolver)
    consumer = json.loads(ready.content)["consumers"][0]
    assert consumer["keyauth_credentials"][0]["key"] == "key-secret"
    assert consumer["basicauth_credentials"][0]["password"] == "word"
    assert consumer["jwt_secrets"][0]["secret"] == "jwt-secret"
    assert rendered.late  # the first one is as it was
    for secret in ("key-secret", "jwt-secret", "'word'"):
        assert secret not in repr(ready.document)
    assert ready.resolved(resolver) is ready


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (Late("env", "GONE"), "!env GONE: the environment variable is not set"),
        (Late("file", "gone", "some/where"), "!file gone: cannot read some/where/gone: No such file"),
        (Late("file", "bad"), "!file bad: bad is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read(late: Late, message: str) -> None:
    def read(path: str) -> bytes:
        if path == "bad":
            return b"\xff"
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(ValueError, match=message):
        resolved({"a": [late]}, Resolver({}, read))


def test_ids_do_not_hang_on_secrets() -> None:
    one, two = (
        render(opened(SOURCE.replace("!env KEY", key), {"JWT": key}), "default").origins
        for key in ("first-key", "second-key")
    )
    assert one.keys() == two.keys()


def test_a_file_is_found_from_its_yaml_file() -> None:
    assert Late("file", "../x/a.pem", "conf/tenants").path == "conf/x/a.pem"
    assert Late("file", "/etc/a.pem", "conf").path == "/etc/a.pem"


def test_a_secret_is_text_that_hides() -> None:
    secret = Secret("hunter2")
    assert secret == "hunter2"
    assert json.dumps([secret]) == '["hunter2"]'
    assert repr({"a": secret}) == "{'a': " + MASK + "}"
    assert plain({"a": [secret]}) == {"a": ["hunter2"]}
    assert type(plain(secret)) is str
    assert pickle.loads(pickle.dumps(secret)) == secret


def test_a_servers_file_may_come_from_the_environment() -> None:
    source = '_format_version: "3.0"\nclusters: {main: {server: {redis: {url: \'${{ env "URL" }}\'}}}}\n'
    gateway = opened(source, {"URL": "redis://r"})
    assert yaml.safe_load(server_yaml(gateway, "main"))["redis"] == {"url": "redis://r"}


@pytest.mark.parametrize(
    ("kind", "field", "secret"),
    [
        ("keyauth_credentials", "key", True),
        ("jwt_secrets", "key", False),
        ("jwt_secrets", "secret", True),
        ("certificates", "key", True),
        ("certificates", "cert", False),
        ("plugins", "redis_password", True),
        ("plugins", "api_key", True),
        ("plugins", "client_secret", True),
        ("plugins", "key_names", False),
        ("plugins", "hide_credentials", False),
        ("plugins", "secret_is_base64", False),
        ("services", "name", False),
    ],
)
def test_which_fields_are_secret(kind: str, field: str, secret: bool) -> None:
    assert is_secret(kind, field) is secret


def test_a_document_for_eyes() -> None:
    document = {
        "consumers": [{"username": "a", "keyauth_credentials": [{"key": "x", "id": "1"}]}],
        "plugins": [
            {"name": "p", "config": {"redis": {"password": "x", "host": "h"}, "token": "{vault://a/b}"}}
        ],
        "certificates": [{"cert": "c", "key": Late("env", "K")}],
    }
    assert masked(document) == {
        "consumers": [{"username": "a", "keyauth_credentials": [{"key": MASK, "id": "1"}]}],
        "plugins": [
            {"name": "p", "config": {"redis": {"password": MASK, "host": "h"}, "token": "{vault://a/b}"}}
        ],
        "certificates": [{"cert": "c", "key": "!env K"}],
    }
