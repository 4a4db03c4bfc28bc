"""Passport's decisions, with real tokens and a real Trust."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import decide
from kong_plugins.state.base import State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import empty_snapshot, snapshot_of_dump

NOW = 1_800_000_000.0
KEY = Ed25519PrivateKey.generate()
CHALLENGE = re.compile(r'Bearer realm="kgate"(, error="invalid_token", error_description="[^"\\]+")?')


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def make_token(**changes):
    claims = {"iss": "https://a", "aud": "shop", "sub": "user-1", "exp": NOW + 600, "tier": "gold"} | changes
    message = f"{b64(json.dumps({'alg': 'EdDSA'}).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{message}.{b64(KEY.sign(message.encode()))}"


def make_state(with_keys=True):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}
    item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks": {"keys": [jwk]}}
    issuers = parse_issuers([item], Path())
    keys = {"main": issuers["main"].keys} if with_keys else {}
    return State(empty_snapshot(), Trust(issuers, StaticKeys(keys), Keyring(b"s" * 32)))


STATE = make_state()
TOKEN = make_token()


def request(authorization=None, method="GET", truncated=(), **headers):
    if authorization is not None:
        headers["authorization"] = authorization
    fixed = ("req-1", "198.51.100.7", "https", method, "h", "/", "/", "r", "s", "t", "")
    return Facts(*fixed, frozenset(truncated), headers)


def ask(facts, state=STATE, **config):
    return decide(facts, parse({"issuers": ["main"]} | config), state, NOW)


def read(passport):
    part = passport.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}  ", f"Bearer\t{TOKEN}"],
    ids=["usual", "small", "capital", "spaces", "tab"],
)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_good(authorization, mode):
    verdict = ask(request(authorization), mode=mode, claims={"tier": "tier"})
    assert not verdict.is_exit
    ((name, passport),) = verdict.service_headers
    assert name == "X-Passport"
    claims = read(passport)
    assert (claims["sub"], claims["sub_iss"], claims["txn"], claims["tier"]) == (
        "user-1",
        "https://a",
        "req-1",
        "gold",
    )
    assert verdict.identity.key == "https://a|user-1"
    assert verdict.memo == ""


NO_TOKEN = [None, "", "Basic dTpw", TOKEN, f"Bearer{TOKEN}", f"BearerX {TOKEN}", "Digest x"]


@pytest.mark.parametrize("authorization", NO_TOKEN)
def test_no_token(authorization):
    verdict = ask(request(authorization))
    assert (verdict.status, verdict.reason) == (401, "token_missing")
    # RFC 6750, section 3: no error code where no authentication was tried
    assert dict(verdict.headers)["WWW-Authenticate"] == 'Bearer realm="kgate"'
    assert ask(request(authorization), mode="optional") is None
    assert ask(request(authorization), mode="forbidden") is None


BAD = [
    ("Bearer", "token_missing"),
    ("Bearer ", "token_missing"),
    ("Bearer a.b", "token_malformed"),
    (f"Bearer {TOKEN}, Bearer {TOKEN}", "token_malformed"),
    (f"Bearer {TOKEN} x", "token_malformed"),
    (f"Bearer {TOKEN}\udcff", "token_malformed"),
    ("Bearer \udcff", "token_malformed"),
    ("Bearer " + "a" * 8193, "token_too_large"),
    (f"Bearer {TOKEN[:-4]}AAAA", "bad_signature"),
    (f"Bearer {make_token(exp=NOW - 31)}", "token_expired"),
    (f"Bearer {make_token(aud='bank')}", "wrong_audience"),
    (f"Bearer {make_token(iss='https://b')}", "unknown_issuer"),
]


@pytest.mark.parametrize(("authorization", "reason"), BAD)
@pytest.mark.parametrize("mode", ["required", "optional"])
def test_bad_token(authorization, reason, mode):
    """A bad token is refused where a token is optional, too: nobody is silently made a stranger."""
    verdict = ask(request(authorization), mode=mode)
    assert (verdict.status, verdict.reason) == (401, reason)
    headers = dict(verdict.headers)
    assert CHALLENGE.fullmatch(headers["WWW-Authenticate"])
    assert headers["Content-Type"] == "application/problem+json"
    body = json.loads(verdict.body)
    assert (body["status"], body["reason"], body["request_id"]) == (401, reason, "req-1")
    assert verdict.service_headers == ()
    assert verdict.identity is None


def test_forbidden():
    verdict = ask(request(f"Bearer {TOKEN}"), mode="forbidden")
    assert (verdict.status, verdict.reason) == (403, "token_forbidden")


@pytest.mark.parametrize("mode", ["required", "optional", "forbidden"])
def test_a_cut_header_is_refused(mode):
    """What was cut off is not known, so it cannot count as "no token" either."""
    for value in (f"Bearer {TOKEN}", "Basic x", None):
        verdict = ask(request(value, truncated=("authorization",)), mode=mode)
        assert (verdict.status, verdict.reason) == (401, "token_too_large")
    assert not ask(request(f"Bearer {TOKEN}", truncated=("cookie",))).is_exit


PREFLIGHT = {"method": "OPTIONS", "origin": "https://x", "access-control-request-method": "PUT"}


def test_preflight_passes_without_token_and_passport():
    assert ask(request(**PREFLIGHT)) is None
    assert ask(request(f"Bearer {TOKEN}", **PREFLIGHT)) is None
    assert ask(request(**{**PREFLIGHT, "method": "GET"})).status == 401
    assert ask(request(method="OPTIONS")).status == 401
    assert ask(request(method="OPTIONS", origin="https://x")).status == 401


def test_issuer_that_the_server_does_not_know():
    verdict = ask(request(f"Bearer {TOKEN}"), issuers=["main", "other"])
    assert (verdict.status, verdict.reason) == (503, "unknown_issuer_config")


def test_keys_not_there_yet():
    """Not the client's fault: an app that sees 401 throws a good token away."""
    verdict = ask(request(f"Bearer {TOKEN}"), make_state(with_keys=False))
    assert (verdict.status, verdict.reason) == (503, "keys_unavailable")
    assert dict(verdict.headers)["Retry-After"] == "5"


def test_passport_too_large():
    token = make_token(roles=["x" * 40] * 60)
    verdict = ask(request(f"Bearer {token}"), claims={"roles": "roles"})
    assert (verdict.status, verdict.reason) == (503, "passport_too_large")
    assert not ask(request(f"Bearer {token}")).is_exit


def test_forward_token():
    kept = ask(request(f"Bearer {TOKEN}"))
    assert [name for name, _ in kept.service_headers] == ["X-Passport"]
    dropped = ask(request(f"Bearer {TOKEN}"), forward_token=False)
    assert dropped.service_headers[1] == ("Authorization", "")


@settings(max_examples=150, deadline=None)
@given(
    st.text()
    | st.builds("Bearer {}".format, st.text())
    | st.builds("bearer {}.{}.{}".format, *[st.text()] * 3),
    st.sampled_from(["required", "optional", "forbidden"]),
)
def test_no_header_passes_for_a_user(authorization, mode):
    verdict = ask(request(authorization), mode=mode)
    if mode == "required":
        assert verdict.is_exit
    if verdict is not None:
        assert verdict.status in (401, 403)
        for name, value in verdict.headers:
            assert (name + value).isascii()
            assert (name + value).isprintable()


@pytest.mark.parametrize(
    ("key", "data", "reason"),
    [
        ("token https://a|t-1", {}, "token_revoked"),
        ("token https://b|t-1", {}, ""),
        ("token https://a|t-2", {}, ""),
        ("subject https://a|user-1", {}, "subject_revoked"),
        ("subject https://a|user-2", {}, ""),
        ("before https://a", {"issued_before": NOW - 9}, "issued_before"),
        ("before https://a", {"issued_before": NOW - 10}, ""),
    ],
)
def test_revocations_count_for_tokens_that_were_verified_before(key, data, reason):
    token = request(f"Bearer {make_token(jti='t-1', iat=NOW - 10)}")
    assert not ask(token).is_exit
    snapshot = snapshot_of_dump(StateDump(1, {"revocations": [Record("revocations", key, data)]}, {}))
    found = ask(token, State(snapshot, STATE.trust), mode="optional")
    assert (found.status, found.reason) == ((401, reason) if reason else (None, ""))
    if reason:
        (challenge,) = [value for name, value in found.headers if name == "WWW-Authenticate"]
        assert CHALLENGE.fullmatch(challenge)


def test_a_token_without_a_date_is_refused_while_its_issuer_has_a_before():
    before = Record("revocations", "before https://a", {"issued_before": 1.0})
    snapshot = snapshot_of_dump(StateDump(1, {"revocations": [before]}, {}))
    assert ask(request(f"Bearer {TOKEN}"), State(snapshot, STATE.trust)).reason == "issued_before"
