"""kgate keys, on a real Redis and in a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.commands.keys import command
from kong_plugins.state.open import open_store
from tests.redis_server import RedisServer

SECRET = "a secret of the operators, 32 bytes and more"


class Keys:
    """Runs commands on one keyring; `where` are the options that name it."""

    def __init__(self, *where: str) -> None:
        self.where = where
        self.said: list[str] = []

    def __call__(self, *args: str, code: int = 0, secret: str | None = SECRET) -> Result:
        env = {"KGATE_KEYRING_SECRET": secret, "USER": "tester"}
        done = CliRunner().invoke(command, [*args, *self.where], env=env)
        self.said.append(done.output)
        assert done.exit_code == code, done.output
        return done

    def json(self, *args: str) -> object:
        return json.loads(self(*args, "--output", "json").stdout)


@pytest.fixture(params=["redis", "folder"])
def keys(request: pytest.FixtureRequest, redis_server: RedisServer, namespace: str, tmp_path: Path) -> Keys:
    if request.param == "folder":
        return Keys("--dir", str(tmp_path / "keys"))
    return Keys("--redis", redis_server.url, "--namespace", namespace)


def states(keys: Keys) -> list[str]:
    return [one["state"] for one in keys.json("list")]  # type: ignore[attr-defined,union-attr]


def test_a_keyring_from_its_first_key_to_its_last(keys: Keys, tmp_path: Path) -> None:
    assert "kgate keys init" in keys("list").output
    assert "use `kgate keys init`" in keys("rotate", code=4).output
    first = keys.json("init")
    assert (first["state"], first["alg"], first["sealed"]) == ("current", "EdDSA", True)  # type: ignore[index]
    assert "rotate" in keys("init", code=4).output
    second = keys.json("rotate", "--alg", "ES256", "--publish-for", "1h", "--reason", "yearly")
    assert second["sign_from"] - second["created"] == 3600  # type: ignore[index]
    assert "is next already" in keys("rotate", code=4).output
    assert states(keys) == ["next", "current"]
    kid = first["kid"]  # type: ignore[index]
    assert "signs now" in keys("retire", kid, code=4).output
    keys("retire", second["kid"])  # type: ignore[index]
    keys("rotate", "--publish-for", "0s")
    assert states(keys) == ["current", "previous", "revoked"]
    exported = json.loads(keys("export-jwks").stdout)
    assert len(exported["keys"]) == 2
    assert all(not {"d", "k", "p"} & set(key) for key in exported["keys"])
    keys("export-jwks", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == exported
    assert kid in keys("list").output
    assert "no key" in keys("retire", "nobody", code=4).output


def test_a_key_from_elsewhere_and_nothing_is_printed(keys: Keys, tmp_path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "k.pem").write_bytes(pem)
    (tmp_path / "s").write_text("hush-hush-hush-hush-hush-hush-hush-hush")
    keys("import", str(tmp_path / "k.pem"), "--kid", "2025-b")
    keys("import", str(tmp_path / "s"), "--alg", "HS256", "--publish-for", "1h")
    assert states(keys) == ["next", "current"]
    assert [key["kid"] for key in json.loads(keys("export-jwks").stdout)["keys"]] == ["2025-b"]
    assert "already" in keys("import", str(tmp_path / "k.pem"), "--kid", "2025-b", code=4).output
    for wrong in (["x.pem"], [str(tmp_path / "s")], [str(tmp_path / "k.pem"), "--kid", "a b"]):
        keys("import", *wrong, code=2)
    keys("list", "--output", "json")
    said = "".join(keys.said)
    assert "PRIVATE" not in said
    assert "hush" not in said
    assert SECRET not in said
    assert pem.decode().splitlines()[1] not in said


def test_what_stands_in_redis_is_sealed_and_what_was_done_is_told(
    redis_server: RedisServer, namespace: str
) -> None:
    keys = Keys("--redis", redis_server.url, "--namespace", namespace)
    made = keys.json("init")
    store = open_store(redis_server.url, namespace)
    try:
        (record,) = store.records("keys")
        assert re.fullmatch(r"v1\.[A-Za-z0-9_-]+=*", record.data["sealed"])
        assert set(record.data) == {"alg", "created", "sign_from", "sealed"}
        (event,) = store.events(10)
        assert (event.kind, event.actor, event.subject) == ("keys.init", "tester", made["kid"])  # type: ignore[index]
        assert "sealed" not in json.dumps(dict(event.data))
        keys("retire", made["kid"], "--force")  # type: ignore[index]
        (record,) = store.records("keys")
        assert "sealed" not in record.data, "the private part is gone"
    finally:
        store.close()


@pytest.mark.parametrize(
    ("args", "secret", "says"),
    [
        (["init"], None, "openssl rand"),
        (["init"], "short", "KGATE_KEYRING_SECRET: the secret has 5 bytes, 32 are needed"),
        (["init", "--secret-file", "/nowhere"], None, "cannot read"),
        (["rotate", "--publish-for", "soon"], SECRET, "90s, 15m"),
        (["rotate", "--publish-for", "2100-01-01"], SECRET, "--publish-for"),
        (["init", "--alg", "none"], SECRET, "none"),
    ],
)
def test_wrong_usage(redis_server: RedisServer, args: list[str], secret: str | None, says: str) -> None:
    assert says in Keys("--redis", redis_server.url)(*args, code=2, secret=secret).output


def test_another_secret_makes_no_key_that_the_servers_could_not_open(keys: Keys, tmp_path: Path) -> None:
    keys("init")
    pem = tmp_path / "key.pem"
    key = Ed25519PrivateKey.generate()
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for args in (["rotate"], ["import", str(pem)]):
        assert "does not open with this secret" in keys(*args, code=4, secret="x" * 32).output
        if "--dir" in keys.where:
            assert "sealed: give their secret" in keys(*args, code=4, secret=None).output
    assert states(keys) == ["current"]


def test_a_folder_is_sealed_or_not(tmp_path: Path) -> None:
    keys = Keys("--dir", str(tmp_path / "keys"))
    keys("init", secret=None)
    assert "leave the secret out" in keys("rotate", code=4).output
    assert "next" in keys("rotate", secret=None).output


def test_another_secret_exports_nothing(keys: Keys) -> None:
    keys("init")
    said = keys("export-jwks", code=1, secret="x" * 32).output
    assert "is the secret the right one?" in said


def test_no_redis() -> None:
    assert "Redis" in Keys("--redis", "redis://127.0.0.1:1/0")("list", code=1).output
