"""Good tokens of every algorithm, and a table of attacks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import string

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.engine.facts import Identity
from kong_plugins.identity.tokens import MAX_TOKEN, TokenError, check_token, verify_token

NOW = 1_800_000_000.0
ALL = [f"{kind}{size}" for kind in ("RS", "PS", "ES", "HS") for size in (256, 384, 512)] + ["EdDSA"]
HEAD = b'{"alg":"EdDSA","kid":"EdDSA"}'


def b64(raw):
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def verify(mint, token, now=NOW, **issuer):
    issuers = mint.issuers(**issuer)
    return verify_token(token, issuers, {"main": issuers["main"].keys}, now)


def reason(mint, token, now=NOW, **issuer):
    with pytest.raises(TokenError) as caught:
        verify(mint, token, now, **issuer)
    assert caught.value.detail.isprintable()
    return caught.value.reason


@pytest.mark.parametrize("alg", ALL)
def test_good(mint, alg):
    found = verify(mint, mint.token(alg), algorithms=[alg], jwks=mint.jwks())
    claims = mint.claims()
    assert found == Identity(mint.iss, "user-1", "token-1", "read write", claims, claims["iat"])


@pytest.mark.parametrize("alg", ALL)
def test_signature_of_another_message(mint, alg):
    one, two = mint.token(alg), mint.token(alg, sub="admin")
    forged = two.rpartition(".")[0] + "." + one.rpartition(".")[2]
    assert reason(mint, forged, algorithms=[alg], jwks=mint.jwks()) == "bad_signature"


@pytest.mark.parametrize("alg", ALL)
@pytest.mark.parametrize("key_alg", ["RS256", "ES256", "EdDSA", "HS256"])
def test_key_of_another_algorithm(mint, alg, key_alg):
    """A key checks its own algorithm only, even where the issuer allows both."""
    if alg == key_alg:
        return
    token = mint.token(alg, {"kid": key_alg})
    found = reason(mint, token, algorithms=[alg, key_alg], jwks=mint.jwks(key_alg))
    assert found == "unknown_key"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["other", "shop"]},
        {"exp": NOW + 0.5},
        {"exp": NOW - 29},
        {"nbf": NOW + 29},
        {"iat": ...},
        {"iat": NOW + 29},
        {"jti": ...},
        {"sub": "한글 user"},
        {"sub": "x" * 255},
        {"scope": ["a", "b"]},
        {"scope": ..., "scp": "a b"},
        {"note": "\u00e9 \U0001f600"},
        {"deep": [[[{}]]]},
    ],
    ids=str,
)
def test_good_claims(mint, changes):
    assert verify(mint, mint.token(**changes)).claims == mint.claims(**changes)


@pytest.mark.parametrize(
    "header",
    [{"typ": ...}, {"typ": "at+jwt"}, {"typ": "application/AT+JWT"}, {"kid": ...}, {"x5t": "abc"}],
    ids=str,
)
def test_good_header(mint, header):
    assert verify(mint, mint.token(header=header)).subject == "user-1"


@pytest.mark.parametrize(
    ("claims", "scope"),
    [({"scope": ["a", "b"]}, "a b"), ({"scope": ..., "scp": "c"}, "c"), ({"scope": ...}, "")],
)
def test_scope(mint, claims, scope):
    assert verify(mint, mint.token(**claims)).scope == scope


def confused_by_pem(mint):
    """The classic: the public key, as everybody may read it, used as an HMAC secret."""
    pem = mint.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = b'{"alg":"HS256","kid":"RS256"}'
    message = f"{b64(head)}.{b64(json.dumps(mint.claims()).encode())}"
    return f"{message}.{b64(hmac.digest(pem, message.encode(), hashlib.sha256))}"


def with_header(**header):
    return lambda mint: mint.token(header=header)


def with_claims(**claims):
    return lambda mint: mint.token(**claims)


def with_payload(raw):
    return lambda mint: mint.raw(HEAD, raw)


def with_head(raw):
    return lambda mint: mint.raw(raw, json.dumps(mint.claims()).encode())


def parts(change):
    """Change the three parts of a good token."""
    return lambda mint: ".".join(change(*mint.token().split(".")))


ATTACKS = {
    # form
    "nothing": ("token_missing", lambda m: ""),
    "none at all": ("token_missing", lambda m: None),
    "bytes": ("token_missing", lambda m: m.token().encode()),
    "too large": ("token_too_large", lambda m: "a" * (MAX_TOKEN + 1)),
    "a valid one that is too large": ("token_too_large", with_claims(pad="x" * MAX_TOKEN)),
    "one part": ("token_malformed", lambda m: "abc"),
    "two parts": ("token_malformed", parts(lambda h, p, s: (h, p))),
    "JWE": ("token_encrypted", parts(lambda h, p, s: (h, p, s, "a", "b"))),
    "leading space": ("token_malformed", lambda m: " " + m.token()),
    "trailing newline": ("token_malformed", lambda m: m.token() + "\n"),
    "two tokens": ("token_malformed", lambda m: f"{m.token()}, {m.token()}"),
    "padding": ("token_malformed", parts(lambda h, p, s: (h, p, s + "=="))),
    "standard base64": ("token_malformed", parts(lambda h, p, s: (h, p + "+/", s))),
    "non-ASCII": ("token_malformed", lambda m: m.token() + "é"),
    "a raw byte": ("token_malformed", lambda m: m.token() + "\udcff"),
    "fullwidth letters": ("token_malformed", lambda m: m.token().replace("e", "\uff45", 1)),
    "a NUL": ("token_malformed", lambda m: m.token() + "\0"),
    "spare bits": ("token_malformed", parts(lambda h, p, s: (h, p, s[:-1] + chr(ord(s[-1]) + 1)))),
    "length 1 mod 4": ("token_malformed", parts(lambda h, p, s: (h, p, s[:-1]))),
    "JSON serialisation": ("token_malformed", lambda m: '{"payload":"e30","signatures":[]}'),
    # JSON
    "header is no JSON": ("token_malformed", with_head(b"{alg:1}")),
    "header is a list": ("token_malformed", with_head(b'["EdDSA"]')),
    "payload is a list": ("token_malformed", with_payload(b"[]")),
    "payload is a token": ("token_malformed", lambda m: m.raw(HEAD, m.token().encode())),
    "duplicate alg": ("token_malformed", with_head(b'{"alg":"none","alg":"EdDSA","kid":"EdDSA"}')),
    "duplicate sub": ("token_malformed", with_payload(b'{"sub":"a","sub":"admin"}')),
    "duplicate inside": ("token_malformed", with_payload(b'{"roles":{"a":1,"\\u0061":2}}')),
    "NaN": ("token_malformed", with_payload(b'{"exp":NaN}')),
    "-Infinity": ("token_malformed", with_payload(b'{"exp":-Infinity}')),
    "deep nesting": ("token_malformed", with_payload(b"[" * 5000)),
    # the reader of Python 3.13 goes deeper
    "deep objects": ("token_malformed|claim_missing", with_payload(b'{"a":' * 1000 + b"1" + b"}" * 1000)),
    "a number of 5000 digits": ("token_malformed", with_payload(b'{"exp":' + b"9" * 5000 + b"}")),
    "UTF-16": ("token_malformed", lambda m: m.raw(HEAD, json.dumps(m.claims()).encode("utf-16"))),
    "byte order mark": ("token_malformed", with_payload(b"\xef\xbb\xbf{}")),
    "not UTF-8": ("token_malformed", with_payload(b'{"sub":"\xff"}')),
    "lone surrogate": ("token_malformed", with_payload(b'{"sub":"\\ud800"}')),
    # header
    "alg none": ("algorithm_not_allowed", with_header(alg="none")),
    "alg NONE": ("algorithm_not_allowed", with_header(alg="NONE")),
    "no signature": (
        "algorithm_not_allowed",
        parts(lambda h, p, s: (b64(b'{"alg":"none"}'), p, "")),
    ),
    "signature cut off": ("bad_signature", parts(lambda h, p, s: (h, p, ""))),
    "no alg": ("algorithm_not_allowed", with_header(alg=...)),
    "alg is a list": ("algorithm_not_allowed", with_header(alg=["EdDSA"])),
    "alg in small letters": ("algorithm_not_allowed", with_header(alg="eddsa")),
    "alg not of this issuer": ("algorithm_not_allowed", lambda m: m.token("HS256")),
    "RS256 to HS256": ("algorithm_not_allowed", confused_by_pem),
    "crit": ("header_not_allowed", with_header(crit=["exp"], exp=1)),
    "empty crit": ("header_not_allowed", with_header(crit=[])),
    "b64 false": ("header_not_allowed", with_header(b64=False)),
    "b64 true": ("header_not_allowed", with_header(b64=True)),
    "jku": ("header_not_allowed", with_header(jku="https://evil.example/jwks")),
    "x5u": ("header_not_allowed", with_header(x5u="https://evil.example/cert")),
    "x5c": ("header_not_allowed", with_header(x5c=["MIIB"])),
    "jwk": ("header_not_allowed", with_header(jwk={"kty": "OKP"})),
    "zip": ("header_not_allowed", with_header(zip="DEF")),
    "cty JWT": ("token_nested", with_header(cty="JWT")),
    "our passport's type": ("token_type_not_allowed", with_header(typ="kgate-passport+jwt")),
    "logout token": ("token_type_not_allowed", with_header(typ="logout+jwt")),
    "typ is a number": ("token_malformed", with_header(typ=1)),
    "kid is a number": ("token_malformed", with_header(kid=1)),
    "unknown kid": ("unknown_key", with_header(kid="other")),
    "kid is a path": ("unknown_key", with_header(kid="../../dev/null")),
    "kid of another type's key": ("unknown_key", with_header(kid="RS256")),
    # issuer
    "no iss": ("claim_missing", with_claims(iss=...)),
    "other iss": ("unknown_issuer", with_claims(iss="https://evil.example")),
    "iss with a slash": ("unknown_issuer", with_claims(iss="https://auth.example.com/")),
    "iss is a list": ("unknown_issuer", with_claims(iss=["https://auth.example.com"])),
    # claims
    "no exp": ("claim_missing", with_claims(exp=...)),
    "exp null": ("claim_invalid", with_claims(exp=None)),
    "exp text": ("claim_invalid", with_claims(exp="1900000000")),
    "exp true": ("claim_invalid", with_claims(exp=True)),
    "exp list": ("claim_invalid", with_claims(exp=[1])),
    "exp 1e999": ("claim_invalid", with_payload(b'{"iss":"https://auth.example.com","exp":1e999}')),
    "exp huge": ("claim_invalid", with_claims(exp=10**400)),
    "exp negative": ("claim_invalid", with_claims(exp=-1)),
    "expired": ("token_expired", with_claims(exp=NOW - 30)),
    "exp zero": ("token_expired", with_claims(exp=0)),
    "nbf ahead": ("token_not_yet_valid", with_claims(nbf=NOW + 31)),
    "nbf text": ("claim_invalid", with_claims(nbf="0")),
    "iat ahead": ("token_not_yet_valid", with_claims(iat=NOW + 31)),
    "iat true": ("claim_invalid", with_claims(iat=True)),
    "no aud": ("claim_missing", with_claims(aud=...)),
    "other aud": ("wrong_audience", with_claims(aud="bank")),
    "empty aud": ("wrong_audience", with_claims(aud=[])),
    "part of aud": ("wrong_audience", with_claims(aud="sho")),
    "aud number": ("claim_invalid", with_claims(aud=1)),
    "aud mixed": ("claim_invalid", with_claims(aud=["shop", 1])),
    "no sub": ("claim_missing", with_claims(sub=...)),
    "empty sub": ("claim_missing", with_claims(sub="")),
    "sub number": ("claim_invalid", with_claims(sub=1)),
    "sub null": ("claim_invalid", with_claims(sub=None)),
    "sub too long": ("claim_invalid", with_claims(sub="x" * 256)),
    "sub with a line break": ("claim_invalid", with_claims(sub="user\r\nX-Admin: 1")),
    "jti number": ("claim_invalid", with_claims(jti=1)),
    "scope number": ("claim_invalid", with_claims(scope=1)),
    "scope mixed": ("claim_invalid", with_claims(scope=["a", 1])),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(mint, name):
    expected, build = ATTACKS[name]
    assert reason(mint, build(mint)) in expected.split("|")


def test_hs256_confusion_where_both_are_allowed(mint):
    """Even an issuer with both algorithms never gives an RSA key to HMAC."""
    token = confused_by_pem(mint)
    assert reason(mint, token, algorithms=["RS256", "HS256"], jwks=mint.jwks("RS256")) == "unknown_key"


def test_max_age(mint):
    assert verify(mint, mint.token(iat=NOW - 129), max_age=100).subject == "user-1"
    assert reason(mint, mint.token(iat=NOW - 130), max_age=100) == "token_too_old"
    assert reason(mint, mint.token(iat=...), max_age=100) == "claim_missing"


def test_any_audience_only_when_said(mint):
    assert verify(mint, mint.token(aud="bank"), audiences=[]).subject == "user-1"
    assert verify(mint, mint.token(aud=...), audiences=[]).subject == "user-1"


def test_keys_not_there_yet(mint):
    with pytest.raises(TokenError, match="keys_unavailable"):
        verify_token(mint.token(), mint.issuers(), {}, NOW)


def test_unknown_key_names_issuer_and_kid(mint):
    with pytest.raises(TokenError) as caught:
        verify(mint, mint.token(header={"kid": "next"}))
    assert (caught.value.issuer, caught.value.kid) == ("main", "next")


def test_no_kid_with_several_keys_of_the_algorithm(mint):
    jwks = {"keys": [mint.jwk("EdDSA", kid="1"), mint.jwk("EdDSA", kid="2")]}
    assert reason(mint, mint.token(header={"kid": ...}), jwks=jwks) == "unknown_key"


def test_a_kept_answer_ends_at_exp_without_leeway(mint):
    issuers = mint.issuers(max_age=1000)
    keys = {"main": issuers["main"].keys}
    found = check_token(mint.token(exp=NOW + 100, nbf=NOW - 5), issuers, keys, NOW)
    assert (found.since, found.until) == (NOW - 35, NOW + 100)
    found = check_token(mint.token(exp=NOW + 5000, iat=NOW - 10), issuers, keys, NOW)
    assert found.until == NOW + 990


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"])
HEADERS = st.sampled_from(["alg", "kid", "typ", "cty", "x"])


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.text(string.ascii_letters + string.digits + "-_.=+/ ", max_size=200),
        st.builds(lambda a, b, c: f"{b64(a)}.{b64(b)}.{b64(c)}", st.binary(), st.binary(), st.binary()),
        st.none() | st.integers() | st.binary(),
    )
)
def test_garbage_raises_only_token_error(mint, token):
    with pytest.raises(TokenError):
        verify(mint, token)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=3), st.dictionaries(HEADERS, JSON, max_size=2))
def test_strange_but_rightly_signed(mint, claims, header):
    """Whatever a trusted key signs: an Identity of sane texts, or TokenError."""
    try:
        found = verify(mint, mint.token(header=header, **claims))
    except TokenError:
        return
    assert found.subject
    assert found.subject.isprintable()
    assert isinstance(found.token_id, str)
    assert isinstance(found.scope, str)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_changed_character_never_passes(mint, data):
    token = mint.token()
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(
        st.sampled_from(string.ascii_letters + string.digits + "-_.").filter(lambda c: c != token[at])
    )
    with pytest.raises(TokenError):
        verify(mint, token[:at] + other + token[at + 1 :])
