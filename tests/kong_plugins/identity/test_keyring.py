"""The signing key: from where, how it is made, and that it never shows."""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kong_plugins.identity.jwks import parse_jwks
from kong_plugins.identity.keyring import Keyring, parse_keyring

MADE = {"alg": "EdDSA", "file": "keys/passport.pem", "generate": True}


def pem(key, password=None):
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def write(path, raw, mode=0o600):
    path.write_bytes(raw)
    path.chmod(mode)


def test_generated_once(tmp_path):
    first = parse_keyring(MADE, tmp_path)
    path = tmp_path / "keys/passport.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_keyring(MADE, tmp_path).kid == first.kid
    assert parse_keyring({"file": str(path)}, tmp_path).kid == first.kid
    assert [file.name for file in path.parent.iterdir()] == ["passport.pem"]


def test_generated_by_several_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: parse_keyring(MADE, tmp_path).kid, range(16)))
    assert len(set(found)) == 1


def test_eddsa(tmp_path):
    key = ed25519.Ed25519PrivateKey.generate()
    write(tmp_path / "k.pem", pem(key))
    keyring = parse_keyring({"alg": "EdDSA", "file": "k.pem", "kid": "2026-a"}, tmp_path)
    key.public_key().verify(keyring.sign(b"m"), b"m")
    (jwk,) = keyring.public_jwks()["keys"]
    assert (jwk["kid"], jwk["alg"], jwk["kty"], jwk["crv"], jwk["use"]) == (
        "2026-a",
        "EdDSA",
        "OKP",
        "Ed25519",
        "sig",
    )
    assert "d" not in jwk


def test_thumbprint():
    """RFC 8037, appendix A.3."""
    d = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(d)
    assert Keyring(key).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_hs256(tmp_path):
    secret = b"s" * 40
    write(tmp_path / "secret", secret + b"\n")
    keyring = parse_keyring({"alg": "HS256", "secret_file": "secret"}, tmp_path)
    assert keyring.sign(b"m") == hmac.digest(secret, b"m", hashlib.sha256)
    assert keyring.public_jwks() == {"keys": []}
    made = {"alg": "HS256", "secret_file": "made", "generate": True}
    assert parse_keyring(made, tmp_path).sign(b"m") == parse_keyring(made, tmp_path).sign(b"m")


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ([], "expected a map"),
        ({}, "file"),
        ({"alg": "RS256", "file": "good.pem"}, "file: the key is for EdDSA"),
        ({"alg": "ES384", "file": "good.pem"}, "alg"),
        ({"alg": "ES256", "file": "good.pem"}, "file: the key is for EdDSA"),
        ({"alg": "RS256", "file": "weak.pem"}, "file: the RSA key has 1024 bits"),
        ({"alg": "ES256", "file": "p384.pem"}, "file: expected an Ed25519, P-256 or RSA key"),
        ({"alg": "HS256", "secret_file": "good.pem", "file": "x"}, "file"),
        ({"alg": "none", "file": "good.pem"}, "alg"),
        ({"alg": ["EdDSA"], "file": "good.pem"}, "alg"),
        ({"file": "good.pem", "kid": ""}, "kid"),
        ({"file": "good.pem", "kid": "a b"}, "kid"),
        ({"file": "good.pem", "kid": 1}, "kid"),
        ({"file": "good.pem", "secret_file": "secret"}, "secret_file"),
        ({"alg": "HS256", "file": "good.pem"}, "file"),
        ({"file": "good.pem", "generate": "yes"}, "generate"),
        ({"file": "absent.pem"}, "file"),
        ({"file": ["good.pem"]}, "file"),
        ({"file": "junk.pem"}, "file"),
        ({"file": "rsa.pem"}, "file"),
        ({"file": "locked.pem"}, "file"),
        ({"file": "open.pem"}, "file: .* chmod"),
        ({"file": "junk.pem/x.pem", "generate": True}, "file: cannot write"),
        ({"alg": "HS256", "secret_file": "short"}, "secret_file"),
        ({"file": "good.pem", "password": "x"}, "password"),
    ],
    ids=str,
)
def test_refused(tmp_path, config, field):
    key = ed25519.Ed25519PrivateKey.generate()
    write(tmp_path / "good.pem", pem(key))
    write(tmp_path / "open.pem", pem(key), 0o604)
    write(tmp_path / "locked.pem", pem(key, b"pw"))
    write(tmp_path / "rsa.pem", pem(rsa.generate_private_key(65537, 2048)))
    write(tmp_path / "weak.pem", pem(rsa.generate_private_key(65537, 1024)))
    write(tmp_path / "p384.pem", pem(ec.generate_private_key(ec.SECP384R1())))
    write(tmp_path / "junk.pem", b"junk")
    write(tmp_path / "short", b"x" * 31)
    with pytest.raises(ValueError, match=rf"^passport\.key: {field}"):
        parse_keyring(config, tmp_path)


def test_never_shown():
    secret = b"hush" * 10
    for keyring in (Keyring(secret), Keyring(ed25519.Ed25519PrivateKey.generate())):
        assert "hush" not in repr(keyring)
        assert "rivate" not in repr(keyring)
        assert json.dumps(keyring.public_jwks()).count('"d"') == 0
        with pytest.raises(TypeError):
            pickle.dumps(keyring)


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_other_algorithms(tmp_path, alg):
    made = {"alg": alg, "file": "k.pem", "generate": True}
    keyring = parse_keyring(made, tmp_path)
    assert parse_keyring({"alg": alg, "file": "k.pem"}, tmp_path).kid == keyring.kid
    (jwk,) = keyring.public_jwks()["keys"]
    assert (jwk["alg"], jwk["kid"]) == (alg, keyring.kid)
    assert not {"d", "p", "q"} & set(jwk)
    (key,) = parse_jwks({"keys": [jwk]}, (alg,)).keys
    assert key.verify(b"m", keyring.sign(b"m"))
    assert not key.verify(b"n", keyring.sign(b"m"))
