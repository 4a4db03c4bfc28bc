"""kgate passport, against a real Redis."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import PassportConfig
from kong_plugins.state.operations import live

ISS = "https://auth.example.com"
KEY = Ed25519PrivateKey.generate()
RING = Keyring(KEY)


def token(seconds: float = 86_400, **claims: Any) -> str:
    payload = {"iss": ISS, "sub": "amy", "aud": "shop", "exp": int(time.time() + seconds), **claims}
    return jwt.encode(payload, KEY, "EdDSA", headers={"kid": RING.kid})


def passport(profile: str = "kgate") -> str:
    facts = Facts("r", "203.0.113.7", "https", "GET", "h", "/", "/", "", "", "", "", frozenset(), {})
    trust = Trust({}, StaticKeys({}), RING)
    rule = PassportConfig(("main",), txn_token=profile == "txn-token")
    return trust.issue(Identity(ISS, "amy"), facts, rule, time.time())


def reason(kgate: Any, subject: str = "amy", token_id: str = "4711", issued: float = 1_000.0) -> str:
    snapshot = live.snapshot(kgate.store)
    return str(snapshot.revocations.reason(ISS, subject, token_id, issued, time.time()))


@pytest.mark.parametrize(
    ("options", "said", "rule"),
    [
        (["--issuer", ISS, "--token-id", "4711"], f"token 4711 of {ISS}  until 2", "token_revoked"),
        (["--token", token(jti="4711")], f"token 4711 of {ISS}  until 2", "token_revoked"),
        (["--issuer", ISS, "--subject", "amy"], f"subject amy of {ISS}  until 2", "subject_revoked"),
        (["--issuer", ISS, "--before", "now"], "what was issued before 2", "issued_before"),
        (["--issuer", ISS, "--before", "1700000000"], "what was issued before 2023-11-14 22:13:20", "issued_before"),
        (["--issuer", ISS, "--before", "2024-01-01T00:00Z"], "what was issued before 2024-01-01", "issued_before"),
    ],
)  # fmt: skip
def test_revoke_and_restore(kgate: Any, options: list[str], said: str, rule: str) -> None:
    assert reason(kgate) == ""
    assert kgate.ok("passport", "revoke", *options, "--reason", "lost").startswith(f"revoked {said}")
    assert reason(kgate) == rule
    assert reason(kgate, "zoe", "5", 9_999_999_999) == ""
    (listed,) = kgate.json("passport", "list")
    assert (listed["reason"], listed["actor"]) == ("lost", "kim")
    assert listed["expires"] == pytest.approx(time.time() + 30 * 86_400, abs=60)
    assert kgate.ok("passport", "list").startswith(said)
    assert kgate.ok("passport", "restore", *options).startswith("restored ")
    assert reason(kgate) == ""
    assert kgate.kinds() == ["passport.revoke", "passport.restore"]
    kgate.refused(1, "passport", "restore", *options)


def test_revoke_as_json_with_a_ttl(kgate: Any) -> None:
    made = kgate.json("passport", "revoke", "--issuer", ISS, "--subject", "amy", "--ttl", "1d")
    assert (made["kind"], made["issuer"], made["value"], made["version"]) == ("subject", ISS, "amy", 1)
    assert made["expires"] == pytest.approx(made["created"] + 86_400, abs=30)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "what? give one of --token"),
        (["--issuer", ISS, "--subject", "a", "--token-id", "b"], "what? give one of --token"),
        (["--subject", "a"], "whose? give --issuer"),
        (["--issuer", "a|b", "--subject", "a"], "issuer: 'a|b'"),
        (["--issuer", ISS, "--subject", ""], "subject: ''"),
        (["--issuer", ISS, "--before", "soon"], "--before 'soon': write now"),
        (["--issuer", ISS, "--before", "2999-01-01"], "--before '2999-01-01': is in the future"),
        (["--issuer", ISS, "--before", "0"], "--before '0': "),
        (["--token", "abc"], "the token is no signed JWT"),
        (["--token", token()], "--token: it has no iss and jti; revoke its subject"),
        (["--token", "@none.txt"], "--token @none.txt: "),
        (["--issuer", ISS, "--subject", "a", "--ttl", "0d"], "--ttl '0d'"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(kgate: Any, options: list[str], says: str) -> None:
    assert kgate.refused(2, "passport", "revoke", *options).startswith(says)


@pytest.mark.parametrize(
    ("text", "options", "code", "verified", "problem"),
    [
        (token(), [], 0, None, ""),
        (token(), ["--jwks"], 0, True, ""),
        (token(), ["--jwks", "--audience", "shop"], 0, True, ""),
        (token(), ["--jwks", "--audience", "other"], 1, False, "wrong_audience"),
        (token(-100), ["--jwks"], 1, False, "token_expired"),
        (token()[:-6] + "AAAAAA", ["--jwks"], 1, False, "token_malformed|bad_signature"),
        (None, ["--jwks"], 0, True, ""),
        ("txn-token", ["--jwks"], 0, True, ""),
        (None, ["--jwks", "--audience", "other"], 1, False, "wrong_audience"),
    ],
)
def test_inspect(
    kgate: Any,
    tmp_path: Path,
    text: str | None,
    options: list[str],
    code: int,
    verified: bool | None,
    problem: str,
) -> None:
    if text in (None, "txn-token"):
        text = passport(text or "kgate")  # made now: it lives for a minute
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(RING.public_jwks()))
    if "--jwks" in options:
        options = ["--jwks", str(jwks), *options[1:]]
    found = kgate.json("passport", "inspect", text, *options, code=code)
    assert found["verified"] is verified
    assert any(found["problem"].startswith(one) for one in problem.split("|"))
    assert found["claims"]["sub"] == "amy"
    shown = kgate("passport", "inspect", text, *options)
    assert shown.exit_code == code
    last = {None: "not verified: give --jwks", True: "verified", False: "refused: "}[verified]
    assert shown.stdout.splitlines()[-1].startswith(last)
    assert "  exp: " in shown.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("abc", "the token is no signed JWT"),
        ("a.b.c", "the token's header is not"),
        ("W10.W10.x", "the token's header is no JSON object"),
    ],
)  # fmt: skip
def test_inspect_what_is_no_token(kgate: Any, text: str, says: str) -> None:
    assert kgate.refused(2, "passport", "inspect", text).startswith(says)
