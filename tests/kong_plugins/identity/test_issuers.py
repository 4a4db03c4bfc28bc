"""The config of the trust anchors: what is taken, and what is refused with issuer and field."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization

from kong_plugins.identity.issuers import IssuerError, parse_issuers
from kong_plugins.identity.tokens import verify_token

NOW = 1_800_000_000.0
BASE = {"name": "main", "iss": "https://a.example", "audiences": ["shop"]}
URL = {"jwks_url": "https://a.example/jwks"}


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def test_defaults(tmp_path):
    (issuer,) = parse_issuers([BASE | URL], tmp_path).values()
    assert issuer.algorithms == ("RS256", "ES256", "EdDSA")
    assert (issuer.leeway, issuer.max_age, issuer.refresh, issuer.keys) == (30, None, 300, None)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"iss": ""}, "iss"),
        ({"iss": "a|b"}, "iss"),
        ({"iss": 1}, "iss"),
        ({"audiences": ...}, "audiences"),
        ({"audiences": "shop"}, "audiences"),
        ({"audiences": [""]}, "audiences"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["RS1"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"types": "JWT"}, "types"),
        ({"leeway": -1}, "leeway"),
        ({"leeway": True}, "leeway"),
        ({"leeway": 301}, "leeway"),
        ({"max_age": 0}, "max_age"),
        ({"refresh": 0}, "refresh"),
        ({"surprise": 1}, "surprise"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"jwks_url": "ftp://a.example"}, "jwks_url"),
        ({"jwks_url": "http://"}, "jwks_url"),
        ({"jwks_url": "http://a.example:99999/"}, "jwks_url"),
        ({"jwks_url": "http://a.example/ b"}, "jwks_url"),
        ({"jwks_url": 1}, "jwks_url"),
        ({"jwks_url": ...}, "jwks_url"),
        ({"jwks": {"keys": []}}, "jwks and jwks_url"),
        ({"jwks_url": ..., "jwks": {}}, "jwks"),
        ({"jwks_url": ..., "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "jwks"),
        ({"jwks_url": ..., "key_file": "absent.pem"}, "key_file"),
        ({"jwks_url": ..., "key_file": "junk.pem"}, "key_file"),
        ({"jwks_url": ..., "key_file": "private.pem"}, "key_file"),
        ({"jwks_url": ..., "key_file": 1}, "key_file"),
        ({"jwks_url": ..., "key_file": "good.pem", "algorithms": ["ES256"]}, "key_file"),
        ({"jwks_url": ..., "secret_file": "short", "algorithms": ["HS256"]}, "secret_file"),
        ({"jwks_url": ..., "secret_file": "secret"}, "secret_file"),
        ({"jwks_url": ..., "secret_file": "open", "algorithms": ["HS256"]}, "secret_file"),
        ({"jwks_url": ..., "secret_env": "KGATE_ABSENT", "algorithms": ["HS256"]}, "secret_env"),
    ],
    ids=str,
)
def test_refused(mint, tmp_path, change, names):
    (tmp_path / "junk.pem").write_text("junk")
    (tmp_path / "private.pem").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "good.pem").write_bytes(public_pem(mint.rsa))
    for name, text, mode in (
        ("short", "x" * 31, 0o600),
        ("secret", "x" * 32, 0o600),
        ("open", "x" * 32, 0o604),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    item = {name: value for name, value in (BASE | URL | change).items() if value is not ...}
    with pytest.raises(IssuerError, match=f"^issuer main: {names}: "):
        parse_issuers([item], tmp_path)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"main": {}}, "issuers: "),
        ("main", "issuers: "),
        ([1], r"issuers\[0\]: "),
        ([{"iss": "a"}], r"issuers\[0\].name: "),
        ([BASE | URL | {"name": "../x"}], r"issuers\[0\].name: "),
        ([BASE | URL, BASE | URL], "issuer main: name: "),
        ([BASE | URL, BASE | URL | {"name": "b"}], "issuer b: iss: .* main"),
    ],
)
def test_refused_list(tmp_path, items, message):
    with pytest.raises(IssuerError, match=f"^{message}"):
        parse_issuers(items, tmp_path)


@pytest.mark.parametrize("kind", ["key", "certificate", "secret_file", "secret_env"])
def test_keys_from_elsewhere(mint, tmp_path, monkeypatch, kind):
    """A lone key fits any kid: its file has no name for it."""
    alg = "HS256" if kind.startswith("secret") else "RS256"
    (tmp_path / "key").write_bytes(public_pem(mint.rsa))
    (tmp_path / "certificate").write_bytes(mint.certificate())
    monkeypatch.setattr(mint, "secret", b"0123456789" * 7)
    (tmp_path / "secret_file").write_bytes(mint.secret + b"\n")
    (tmp_path / "secret_file").chmod(0o600)
    monkeypatch.setenv("secret_env", mint.secret.decode())
    source = {kind if alg == "HS256" else "key_file": kind, "algorithms": [alg]}
    issuers = parse_issuers([BASE | {"iss": mint.iss} | source], tmp_path)
    keys = {"main": issuers["main"].keys}
    assert verify_token(mint.token(alg), issuers, keys, NOW).subject == "user-1"
    assert "0123456789" not in repr(issuers)
    assert "0123456789" not in repr(keys)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"require_type": 1}, "require_type"),
        ({"required_claims": "email"}, "required_claims"),
        ({"required_claims": [1]}, "required_claims"),
        ({"stale_if_error": -1}, "stale_if_error"),
        ({"stale_if_error": True}, "stale_if_error"),
        ({"enrich": 1}, "enrich"),
    ],
    ids=str,
)
def test_rules_refused(mint, raw, field):
    with pytest.raises(ValueError, match=f"^issuer main: {field}"):
        mint.issuers(**raw)


def test_rules(mint):
    found = mint.issuers(require_type=True, required_claims=["email"], stale_if_error=60)["main"]
    assert (found.require_type, found.required_claims, found.stale_if_error) == (True, ("email",), 60)
    assert mint.issuers()["main"].stale_if_error == 24 * 3600
