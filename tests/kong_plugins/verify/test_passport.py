"""verify_passport: good passports, attacks, and the gateway's own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.passports import PassportOffice
from kong_plugins.passport.config import parse
from kong_plugins.verify import PassportError, PassportKeys, verify_passport


def verify(gateway, token, later=0.0, **more):
    return verify_passport(token, gateway.jwks(), "kgate", now=gateway.now + later, **more)


def test_good(gateway):
    found = verify(gateway, gateway.passport())
    assert (found.subject, found.issuer, found.txn, found.ip) == (
        "user-1",
        "https://a",
        "req-1",
        "198.51.100.7",
    )
    assert found.scopes == {"read", "write"}
    assert found.claims["tier"] == "gold"
    assert (found.authn_level, found.audience, found.expires) == ("full", "kgate", gateway.now + 60)


def test_the_clock_is_the_default(gateway):
    assert verify_passport(gateway.passport(), gateway.jwks(), "kgate").subject == "user-1"


def test_hs256(gateway):
    token = gateway.passport({"alg": "HS256", "kid": "h1"})
    assert verify(gateway, token).subject == "user-1"


@pytest.mark.parametrize("keyring", [lambda g: Keyring(g.key, "k1"), lambda g: Keyring(g.secret, "h1")])
def test_what_the_gateway_issues(gateway, keyring):
    ring = keyring(gateway)
    user = Identity("https://a", "한글", "", "read", {"customer_tier": "gold"})
    facts = Facts("req-9", "::1", "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {})
    rule = parse({"issuers": ["main"], "audience": "shop", "claims": {"tier": "customer_tier"}})
    token = PassportOffice(ring, "kgate").issue(user, facts, rule, gateway.now)
    jwks = ring.public_jwks() if ring.alg == "EdDSA" else gateway.jwks()
    found = verify_passport(token, jwks, "shop", now=gateway.now)
    assert (found.subject, found.txn, found.claims["tier"]) == ("한글", "req-9", "gold")


ATTACKS = {
    "nothing": ("passport_missing", lambda g: ""),
    "garbage": ("passport_malformed", lambda g: "garbage"),
    "bytes": ("passport_malformed", lambda g: b"a.b.c"),
    "non-ASCII": ("passport_malformed", lambda g: g.passport() + "é"),
    "two of them": ("passport_malformed", lambda g: f"{g.passport()},{g.passport()}"),
    "too large": ("passport_malformed", lambda g: g.passport(pad="x" * 4096)),
    "deep": (
        "passport_malformed",
        lambda g: g.raw({"alg": "EdDSA", "kid": "k1", "typ": "kgate-passport+jwt"}, b"[" * 2500),
    ),
    "payload is a list": (
        "passport_malformed",
        lambda g: g.raw({"alg": "EdDSA", "kid": "k1", "typ": "kgate-passport+jwt"}, b"[]"),
    ),
    "other key": ("bad_signature", lambda g: g.passport(key=g.other)),
    "cut signature": ("bad_signature", lambda g: g.passport().rpartition(".")[0] + "."),
    "changed": ("bad_signature", lambda g: g.passport()[:-4] + "AAAA"),
    "no kid": ("unknown_key", lambda g: g.passport({"kid": ...})),
    "unknown kid": ("unknown_key", lambda g: g.passport({"kid": "k2"})),
    "alg none": ("wrong_algorithm", lambda g: g.passport({"alg": "none"})),
    "HS256 by the public key": (
        "wrong_algorithm",
        lambda g: g.passport({"alg": "HS256"}, key=g.key.public_key().public_bytes_raw()),
    ),
    "EdDSA by the secret's name": ("wrong_algorithm", lambda g: g.passport({"kid": "h1"})),
    "a client's token": ("wrong_type", lambda g: g.passport({"typ": "JWT"})),
    "no type": ("wrong_type", lambda g: g.passport({"typ": ...})),
    "crit": ("passport_malformed", lambda g: g.passport({"crit": ["x"], "x": 1})),
    "other issuer": ("wrong_issuer", lambda g: g.passport(iss="evil")),
    "other audience": ("wrong_audience", lambda g: g.passport(aud="bank")),
    "list of audiences": ("wrong_audience", lambda g: g.passport(aud=["kgate"])),
    "expired": ("passport_expired", lambda g: g.passport(exp=g.now - 5)),
    "from the future": ("passport_not_yet_valid", lambda g: g.passport(iat=g.now + 6)),
    "no exp": ("claim_missing", lambda g: g.passport(exp=...)),
    "exp true": ("claim_missing", lambda g: g.passport(exp=True)),
    "exp NaN": ("claim_missing", lambda g: g.passport(exp=float("nan"))),
    "no iat": ("claim_missing", lambda g: g.passport(iat=...)),
    "no sub": ("claim_missing", lambda g: g.passport(sub=...)),
    "empty sub": ("claim_missing", lambda g: g.passport(sub="")),
    "no txn": ("claim_missing", lambda g: g.passport(txn=...)),
    "scope is a list": ("claim_missing", lambda g: g.passport(scope=["a"])),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(gateway, name):
    reason, build = ATTACKS[name]
    with pytest.raises(PassportError) as caught:
        verify(gateway, build(gateway))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("later", "leeway", "good"), [(64, 5, True), (65, 5, False), (60, 0, False), (-5, 5, True)]
)
def test_time(gateway, later, leeway, good):
    if good:
        assert verify(gateway, gateway.passport(), later, leeway=leeway).subject == "user-1"
    else:
        with pytest.raises(PassportError, match="passport_expired"):
            verify(gateway, gateway.passport(), later, leeway=leeway)


@pytest.mark.parametrize(
    "jwks",
    [
        lambda g: {},
        lambda g: [],
        lambda g: {"keys": []},
        lambda g: {"keys": [None, "x", {}]},
        lambda g: {"keys": [g.jwk(kid=None)]},
        lambda g: {"keys": [g.jwk(use="enc")]},
        lambda g: {"keys": [g.jwk(x="AA")]},
        lambda g: {"keys": [g.jwk(crv="X25519")]},
        lambda g: {"keys": [g.jwk(alg="none")]},
        lambda g: {"keys": [g.jwk(alg=["EdDSA"])]},
        lambda g: {"keys": [{"kty": "EC", "kid": "e", "crv": "P-256", "x": "AA", "y": "AA"}]},
        lambda g: {"keys": [g.oct(alg="HS512")]},
        lambda g: {"keys": [g.oct(k="AAAA")]},
    ],
)
def test_useless_jwks(gateway, jwks):
    with pytest.raises(ValueError, match=r"^jwks: "):
        PassportKeys(jwks(gateway))


def test_useless_keys_are_passed_over(gateway):
    keys = PassportKeys({"keys": [{"kty": "quantum", "kid": "q"}, gateway.jwk(), gateway.jwk("old", x="AA")]})
    assert repr(keys) == "PassportKeys(k1)"
    assert verify_passport(gateway.passport(), keys, "kgate", now=gateway.now).subject == "user-1"


@settings(max_examples=80, deadline=None)
@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_garbage(lasting_gateway, token):
    with pytest.raises(PassportError):
        verify(lasting_gateway, token)


def test_a_front_server_needs_pyjwt_only():
    """The helper can be copied into a front server: nothing else of kgate is imported."""
    code = (
        "import sys, kong_plugins.verify.wsgi, kong_plugins.verify.asgi\n"
        "ours = [m for m in sys.modules if m.startswith(('kong_plugins', 'decl', 'cli', 'schemas'))]\n"
        "print([m for m in ours if m != 'kong_plugins' and not m.startswith('kong_plugins.verify')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def txn(gateway, **changes):
    claims = {"req_wl": "kgate", "rctx": {"req_ip": "192.0.2.1", "authn_level": "full", "device": "d"}}
    claims |= {"tctx": {"canary": "v2=control", "tier": "silver", "sub": "admin"}, "authn_level": ...}
    return gateway.passport({"typ": "txntoken+jwt"}, **(claims | {"ip": ..., "tier": ...} | changes))


def test_transaction_token(gateway):
    found = verify(gateway, txn(gateway), profile="txn-token")
    assert (found.ip, found.authn_level, found.device, found.canary) == (
        "192.0.2.1",
        "full",
        "d",
        "v2=control",
    )
    assert (found.claims["tier"], found.claims["sub"]) == ("silver", "user-1"), "its own claims come first"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rctx": ...}, "claim_missing"),
        ({"rctx": "x"}, "claim_missing"),
        ({"rctx": {}}, "claim_missing"),
        ({"tctx": []}, "claim_missing"),
        ({"aud": "bank"}, "wrong_audience"),
        ({"sub": ""}, "claim_missing"),
    ],
    ids=str,
)
def test_transaction_token_refused(gateway, changes, reason):
    with pytest.raises(PassportError, match=reason):
        verify(gateway, txn(gateway, **changes), profile="txn-token")


def test_one_profile_is_not_the_other(gateway):
    with pytest.raises(PassportError, match="wrong_type"):
        verify(gateway, txn(gateway))
    with pytest.raises(PassportError, match="wrong_type"):
        verify(gateway, gateway.passport(), profile="txn-token")
    with pytest.raises(ValueError, match=r"^profile: "):
        verify(gateway, gateway.passport(), profile="any")


def test_device_canary_and_nobody(gateway):
    found = verify(gateway, gateway.passport(device="phone-1", canary="v2=canary"))
    assert (found.device, found.canary, found.is_anonymous) == ("phone-1", "v2=canary", False)
    assert verify(gateway, gateway.passport(authn_level="anonymous")).is_anonymous
    for name in ("device", "canary"):
        with pytest.raises(PassportError, match="claim_missing"):
            verify(gateway, gateway.passport(**{name: ["x"]}))


def test_a_claim_that_is_there_twice(gateway):
    head = {"alg": "EdDSA", "kid": "k1", "typ": "kgate-passport+jwt"}
    with pytest.raises(PassportError, match="passport_malformed"):
        verify(gateway, gateway.raw(head, b'{"sub":"a","sub":"b"}'))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x"]), st.none() | st.text() | st.integers()
    ),
    st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "exp", "iat", "txn", "sub_iss", "rctx", "tctx", "authn_level"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers(), max_size=2),
    ),
    st.sampled_from(["kgate", "txn-token"]),
    st.booleans(),
)
def test_any_claims_well_signed_or_not_raise_its_own_error_alone(
    lasting_gateway, header, claims, profile, usual
):
    typ = {"kgate": "kgate-passport+jwt", "txn-token": "txntoken+jwt"}[profile]
    head = {"alg": "EdDSA", "kid": "k1", "typ": typ} if usual else header
    token = lasting_gateway.raw(head, json.dumps(claims).encode()) if head.get("alg") != "HS256" else "x"
    with contextlib.suppress(PassportError):
        verify(lasting_gateway, token, profile=profile)
