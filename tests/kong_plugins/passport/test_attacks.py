"""What an attacker may send, against the whole plugin: real keys, a real Trust, the answer that Kong would give.

Each row is a name, what the request shows, and the status and reason that must come back. None of them may reach the
service, and none may say more than the reason.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kong_plugins.engine.facts import Facts
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import StaticKeys
from kong_plugins.identity.passports import PassportOffice
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import decide
from kong_plugins.state.base import State
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import empty_snapshot, snapshot_of_dump
from tests.kong_plugins.identity.conftest import Mint, b64

MINT = Mint()
NOW = MINT.now
RING = Keyring(MINT.ec["ES256"], "own")
ASYMMETRIC = ["RS256", "ES256", "EdDSA"]
KINDS = [
    MINT.issuer(algorithms=ASYMMETRIC, jwks=MINT.jwks(*ASYMMETRIC), max_age=3600, required_claims=["scope"]),
    MINT.issuer(name="shared", iss="https://shared", algorithms=["HS256"], jwks=MINT.jwks("HS256")),
    MINT.issuer(
        name="typed", iss="https://typed", require_type=True, types=["at+jwt"], jwks=MINT.jwks("EdDSA")
    ),
]


def trust_of(*items):
    issuers = parse_issuers(items, Path())
    return Trust(issuers, StaticKeys({name: each.keys for name, each in issuers.items()}), RING)


TRUST = trust_of(*KINDS)
PEM = MINT.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_by(secret, alg="HS256", kid="RS256"):
    """Algorithm confusion: the public key, which everybody has, as the secret."""
    other = Mint.__new__(Mint)
    other.secret = secret
    message = f"{b64(json.dumps({'alg': alg, 'kid': kid, 'typ': 'JWT'}).encode())}."
    message += b64(json.dumps(MINT.claims()).encode())
    return f"{message}.{b64(Mint.sign(other, 'HS256', message.encode()))}"


def header_of(token, **changes):
    """The token with another header and the signature of before."""
    head, payload, signature = token.split(".")
    found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return f"{b64(json.dumps(found | changes).encode())}.{payload}.{signature}"


def passport():
    facts = Facts("r", "192.0.2.1", "", "GET", "", "/", "/", "", "", "", "", frozenset(), {})
    rule = parse({"issuers": ["main"], "audience": "shop"})
    identity = TRUST.verify(MINT.token(), ("main",), NOW)
    return PassportOffice(RING, MINT.iss).issue(identity, facts, rule, NOW)


GOOD = MINT.token()
HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")
LAST = SIGNATURE[:-1] + chr(ord(SIGNATURE[-1]) + 1)
DUPLICATE = b'{"iss":"%s","sub":"user-1","sub":"admin","aud":"shop","exp":%d,"scope":"a"}'
EDDSA = b'{"alg":"EdDSA","kid":"EdDSA"}'


def payload(**changes):
    return json.dumps(MINT.claims(**changes)).encode()


ROWS = {
    # algorithms
    "alg none": (401, "algorithm_not_allowed", header_of(GOOD, alg="none")),
    "alg None": (401, "algorithm_not_allowed", header_of(GOOD, alg="None")),
    "alg NONE without a signature": (
        401,
        "algorithm_not_allowed",
        header_of(GOOD, alg="NONE").rsplit(".", 1)[0] + ".",
    ),
    "alg none and a good kid": (401, "algorithm_not_allowed", MINT.token(header={"alg": "none"})),
    "alg is a list": (401, "algorithm_not_allowed", MINT.token(header={"alg": ["EdDSA"]})),
    "alg is null": (401, "algorithm_not_allowed", MINT.token(header={"alg": None})),
    "no alg": (401, "algorithm_not_allowed", MINT.token(header={"alg": ...})),
    "alg in small letters": (401, "algorithm_not_allowed", MINT.token(header={"alg": "eddsa"})),
    "alg with a space": (401, "algorithm_not_allowed", MINT.token(header={"alg": "EdDSA "})),
    "HS256 by the RSA key's PEM": (401, "algorithm_not_allowed", hmac_by(PEM)),
    "HS256 by the RSA key's PEM without its end": (401, "algorithm_not_allowed", hmac_by(PEM.strip())),
    "HS256 by the Ed25519 key": (
        401,
        "algorithm_not_allowed",
        hmac_by(MINT.ed.public_key().public_bytes_raw()),
    ),
    "HS256 by the JWKS": (401, "algorithm_not_allowed", hmac_by(json.dumps(MINT.jwks("RS256")).encode())),
    "HS256 by nothing": (401, "algorithm_not_allowed", hmac_by(b"")),
    "RS512 by an RS256 key": (401, "algorithm_not_allowed", MINT.token("RS512", {"kid": "RS256"})),
    "PS256 by an RS256 key": (401, "algorithm_not_allowed", MINT.token("PS256", {"kid": "RS256"})),
    "ES256 by the kid of the RSA key": (401, "unknown_key", MINT.token("ES256", {"kid": "RS256"})),
    "EdDSA by the kid of the EC key": (401, "unknown_key", MINT.token("EdDSA", {"kid": "ES256"})),
    "RS256 said, Ed25519 signed": (401, "bad_signature", header_of(GOOD, alg="RS256", kid="RS256")),
    "the issuer of another issuer's algorithm": (401, "algorithm_not_allowed", MINT.token("HS256")),
    # key ids and keys in the header
    "unknown kid": (401, "unknown_key", MINT.token(header={"kid": "nobody"})),
    "kid is a path": (401, "unknown_key", MINT.token(header={"kid": "../../../../dev/null"})),
    "kid is SQL": (401, "unknown_key", MINT.token(header={"kid": "x' UNION SELECT 'secret'--"})),
    "kid is a shell": (401, "unknown_key", MINT.token(header={"kid": "$(curl evil)|id"})),
    "kid is a URL": (401, "unknown_key", MINT.token(header={"kid": "https://evil.example/jwks"})),
    "kid is empty": (401, "unknown_key", MINT.token(header={"kid": ""})),
    "kid has a NUL": (401, "unknown_key", MINT.token(header={"kid": "EdDSA\0"})),
    "kid is a number": (401, "token_malformed", MINT.token(header={"kid": 1})),
    "kid is an object": (401, "token_malformed", MINT.token(header={"kid": {"$ne": ""}})),
    "kid in other letters": (401, "unknown_key", MINT.token(header={"kid": "eddsa"})),
    "jku": (401, "header_not_allowed", MINT.token(header={"jku": "https://evil.example/jwks"})),
    "jku to the cloud's metadata": (
        401,
        "header_not_allowed",
        MINT.token(header={"jku": "http://169.254.169.254/"}),
    ),
    "x5u": (401, "header_not_allowed", MINT.token(header={"x5u": "https://evil.example/c.pem"})),
    "x5c": (401, "header_not_allowed", MINT.token(header={"x5c": ["AAAA"]})),
    "jwk": (401, "header_not_allowed", MINT.token(header={"jwk": MINT.jwk("EdDSA")})),
    "crit": (401, "header_not_allowed", MINT.token(header={"crit": ["exp"], "exp": 1})),
    "crit is empty": (401, "header_not_allowed", MINT.token(header={"crit": []})),
    "b64 false": (401, "header_not_allowed", MINT.token(header={"b64": False})),
    "zip": (401, "header_not_allowed", MINT.token(header={"zip": "DEF"})),
    # what is in what
    "nested": (401, "token_nested", MINT.token(header={"cty": "JWT"})),
    "nested by its long name": (401, "token_nested", MINT.token(header={"cty": "application/jwt"})),
    "encrypted": (401, "token_encrypted", f"{HEAD}.AAAA.AAAA.{PAYLOAD}.{SIGNATURE}"),
    "JSON serialisation": (401, "token_malformed", json.dumps({"payload": PAYLOAD, "signatures": []})),
    "four parts": (401, "token_malformed", f"{GOOD}.AAAA"),
    "two parts": (401, "token_malformed", f"{HEAD}.{PAYLOAD}"),
    "the gateway's own passport": (401, "token_type_not_allowed", passport()),
    "a logout token": (401, "token_type_not_allowed", MINT.token(header={"typ": "logout+jwt"})),
    "an ID token by type": (401, "token_type_not_allowed", MINT.token(header={"typ": "id_token"})),
    "typ is a list": (401, "token_malformed", MINT.token(header={"typ": ["JWT"]})),
    "no typ where one is needed": (
        401,
        "token_type_not_allowed",
        MINT.token(header={"typ": ...}, iss="https://typed"),
    ),
    "another typ than the issuer's": (401, "token_type_not_allowed", MINT.token(iss="https://typed")),
    # the signature
    "half a signature": (401, "bad_signature", f"{HEAD}.{PAYLOAD}.{b64(bytes(32))}"),
    "no signature": (401, "bad_signature", f"{HEAD}.{PAYLOAD}."),
    "signature of zeros": (401, "bad_signature", f"{HEAD}.{PAYLOAD}.{b64(bytes(64))}"),
    "ES256 of zeros": (401, "bad_signature", ".".join((*MINT.token("ES256").split(".")[:2], b64(bytes(64))))),
    "ES256 in DER": (
        401,
        "bad_signature",
        ".".join((*MINT.token("ES256").split(".")[:2], b64(b"\x30\x06\x02\x01\x01\x02\x01\x01"))),
    ),
    "somebody else's payload": (401, "bad_signature", f"{HEAD}.{b64(payload(sub='admin'))}.{SIGNATURE}"),
    "another spelling of the signature": (401, "token_malformed", f"{HEAD}.{PAYLOAD}.{LAST}"),
    "padding": (401, "token_malformed", f"{GOOD}=="),
    "plain base64": (401, "token_malformed", f"{HEAD}.{PAYLOAD}.{'+/' * 43}"),
    "a line break inside": (401, "token_malformed", f"{HEAD}.\n{PAYLOAD}.{SIGNATURE}"),
    # JSON
    "a member twice": (401, "token_malformed", MINT.raw(EDDSA, DUPLICATE % (MINT.iss.encode(), NOW + 600))),
    "a header member twice": (401, "token_malformed", MINT.raw(b'{"alg":"none","alg":"EdDSA"}', payload())),
    "exp is NaN": (
        401,
        "token_malformed",
        MINT.raw(EDDSA, payload().replace(b'"exp": 1800000600', b'"exp": NaN')),
    ),
    "exp is infinite": (401, "claim_invalid", MINT.raw(EDDSA, payload().replace(b"1800000600", b"1e999"))),
    "payload is a list": (401, "token_malformed", MINT.raw(EDDSA, b"[]")),
    "payload is not UTF-8": (401, "token_malformed", MINT.raw(EDDSA, b'{"iss":"\xff"}')),
    "payload with a lone surrogate": (401, "token_malformed", MINT.raw(EDDSA, b'{"sub":"\\ud800"}')),
    "deep payload": (401, "token_malformed", MINT.raw(EDDSA, b"[" * 3000)),
    "trailing data": (401, "token_malformed", MINT.raw(EDDSA, payload() + b"{}")),
    # clock edges: the leeway is 30 s, max_age 3600 s
    "expired": (401, "token_expired", MINT.token(exp=NOW - 30)),
    "expired just now": (0, "", MINT.token(exp=NOW - 29.9)),
    "not yet valid": (401, "token_not_yet_valid", MINT.token(nbf=NOW + 30.1)),
    "valid just now": (0, "", MINT.token(nbf=NOW + 30)),
    "issued in the future": (401, "token_not_yet_valid", MINT.token(iat=NOW + 31)),
    "too old": (401, "token_too_old", MINT.token(iat=NOW - 3630)),
    "old, just not too old": (0, "", MINT.token(iat=NOW - 3629.9)),
    "no iat where there is a max_age": (401, "claim_missing", MINT.token(iat=...)),
    "no exp": (401, "claim_missing", MINT.token(exp=...)),
    "exp is text": (401, "claim_invalid", MINT.token(exp=str(NOW + 600))),
    "exp is true": (401, "claim_invalid", MINT.token(exp=True)),
    "exp far beyond": (401, "claim_invalid", MINT.token(exp=2**60)),
    "exp is negative": (401, "claim_invalid", MINT.token(exp=-1)),
    # whose and for whom
    "another issuer": (401, "unknown_issuer", MINT.token(iss="https://evil.example")),
    "the issuer with a slash": (401, "unknown_issuer", MINT.token(iss=MINT.iss + "/")),
    "the issuer in capitals": (401, "unknown_issuer", MINT.token(iss=MINT.iss.upper())),
    "the issuer is a list": (401, "unknown_issuer", MINT.token(iss=[MINT.iss])),
    "no issuer": (401, "claim_missing", MINT.token(iss=...)),
    "another audience": (401, "wrong_audience", MINT.token(aud="bank")),
    "audience by its beginning": (401, "wrong_audience", MINT.token(aud="shop.evil.example")),
    "audience is an object": (401, "claim_invalid", MINT.token(aud={"shop": True})),
    "no audience": (401, "claim_missing", MINT.token(aud=...)),
    "no subject": (401, "claim_missing", MINT.token(sub=...)),
    "subject with a line break": (401, "claim_invalid", MINT.token(sub="a\r\nX-Admin: 1")),
    "subject that turns the text round": (401, "claim_invalid", MINT.token(sub="a\u202eb")),
    "subject with a NUL": (401, "claim_invalid", MINT.token(sub="a\0b")),
    "subject is a number": (401, "claim_invalid", MINT.token(sub=7)),
    "long subject": (401, "claim_invalid", MINT.token(sub="a" * 256)),
    "no claim that is required": (401, "claim_missing", MINT.token(scope=...)),
    "a claim that is required and empty": (401, "claim_missing", MINT.token(scope="")),
    # size and form of the header
    "over 8 KB": (401, "token_too_large", MINT.token(pad="x" * 6100)),
    "8 KB of nothing": (401, "token_too_large", "a" * 8193),
    "two tokens": (401, "token_malformed", f"{GOOD}, Bearer {GOOD}"),
    "two tokens, other": (401, "token_malformed", f"{GOOD},{GOOD}"),
    "full-width letters": (401, "token_malformed", GOOD.replace("e", "ｅ", 1)),
    "a byte that is not UTF-8": (401, "token_malformed", GOOD + "\udcff"),
    "an invisible space": (401, "token_malformed", GOOD + "\u200b"),
    "a NUL": (401, "token_malformed", GOOD + "\0"),
    "another scheme": (401, "token_missing", None, {"authorization": f"Basic {GOOD}"}),
    "no scheme": (401, "token_missing", None, {"authorization": GOOD}),
    "in the query's place": (401, "token_missing", None, {"x-token": GOOD}),
    "in a cookie that is not asked for": (401, "token_missing", None, {"cookie": f"session={GOOD}"}),
}


def ask(token, headers=None, state=None, request_id="r-1", ip="198.51.100.7", **config):
    found = {"authorization": f"Bearer {token}"} if headers is None else headers
    fixed = (request_id, ip, "https", "GET", "h", "/", "/", "r", "s", "t", "")
    raw = {"issuers": ["main", "shared", "typed"]} | config
    return decide(Facts(*fixed, frozenset(), found), parse(raw), state or State(empty_snapshot(), TRUST), NOW)


def test_there_are_enough_rows():
    assert len(ROWS) >= 100


@pytest.mark.parametrize("name", ROWS)
def test_attack(name):
    status, reason, token, *headers = ROWS[name]
    found = ask(token, *headers)
    assert (found.status or 0, found.reason) == (status, reason)
    if not status:
        return
    assert found.service_headers == ()
    challenge = dict(found.headers)["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="kgate"')
    assert ('error="invalid_token"' in challenge) is (reason != "token_missing")
    body = json.loads(found.body)
    assert set(body) == {"type", "title", "status", "detail", "reason", "request_id"}
    for secret in ("user-1", "admin", MINT.iss, "shop", "EdDSA", "RS256"):
        assert secret not in body["detail"] + challenge


COOKIE = {"token_from": ["cookie:sid", "header:X-Token", "authorization"]}
PLACES = {
    "cookie": (0, "", {"cookie": f"a=b; sid={GOOD}"}),
    "quoted cookie": (0, "", {"cookie": f'sid="{GOOD}"'}),
    "header": (0, "", {"x-token": GOOD}),
    "authorization": (0, "", {"authorization": f"Bearer {GOOD}"}),
    "nothing": (401, "token_missing", {"cookie": "sid=; a=b", "x-token": " "}),
    "the cookie's name in capitals": (401, "token_missing", {"cookie": f"SID={GOOD}"}),
    "a cookie that ends alike": (401, "token_missing", {"cookie": f"xsid={GOOD}"}),
    "the cookie twice": (400, "token_ambiguous", {"cookie": f"sid={GOOD}; sid={GOOD}"}),
    "the cookie twice, once empty": (400, "token_ambiguous", {"cookie": f"sid={GOOD}; sid="}),
    "cookie and header": (400, "token_ambiguous", {"cookie": f"sid={GOOD}", "x-token": GOOD}),
    "cookie and authorization": (
        400,
        "token_ambiguous",
        {"cookie": "sid=x", "authorization": f"Bearer {GOOD}"},
    ),
    "header twice or its underscore twin": (401, "token_malformed", {"x-token": f"{GOOD}, {GOOD}"}),
    "bearer in a named header": (401, "token_malformed", {"x-token": f"Bearer {GOOD}"}),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_the_token_is(name):
    status, reason, headers = PLACES[name]
    found = ask(None, headers, **COOKIE)
    assert (found.status or 0, found.reason) == (status, reason)
    if status == 400:
        # RFC 6750, section 3.1
        assert 'error="invalid_request"' in dict(found.headers)["WWW-Authenticate"]


def test_a_kept_answer_is_no_way_round_a_revocation():
    """Replay after logout: the token was verified, cached and its passport reused a moment ago."""
    assert not ask(GOOD).is_exit
    revoked = Record("revocations", f"token {MINT.iss}|token-1", {})
    state = State(snapshot_of_dump(StateDump(2, {"revocations": [revoked]}, {})), TRUST)
    assert (ask(GOOD, state=state).status, ask(GOOD, state=state).reason) == (401, "token_revoked")
    assert not ask(MINT.token(jti="token-2"), state=state).is_exit
