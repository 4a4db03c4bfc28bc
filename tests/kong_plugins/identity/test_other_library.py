"""Tokens and keys made by another library (joserfc) than the one that verifies, and our passports read by it."""

from __future__ import annotations

import pytest
from joserfc import jwt as jose
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.passports import PassportOffice
from kong_plugins.identity.signing import Keyring, make_key
from kong_plugins.identity.tokens import TokenError, verify_token
from kong_plugins.passport.config import parse
from kong_plugins.verify import verify_passport

# RFC 9864 renames it to Ed25519; issuers and verifiers still say EdDSA
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
NOW = 1_800_000_000.0
RSA = RSAKey.generate_key(2048, {"kid": "rsa"}, auto_kid=False)
OCT = OctKey.generate_key(512, {"kid": "oct"}, auto_kid=False)
KEYS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": ECKey.generate_key("P-256", {"kid": "p256"}, auto_kid=False),
    "ES384": ECKey.generate_key("P-384", {"kid": "p384"}, auto_kid=False),
    "ES512": ECKey.generate_key("P-521", {"kid": "p521"}, auto_kid=False),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}, auto_kid=False),
    **dict.fromkeys(("HS256", "HS384", "HS512"), OCT),
}
CLAIMS = {"iss": "https://a", "aud": ["shop", "bank"], "sub": "user-1", "exp": int(NOW) + 60, "iat": int(NOW)}


def token(alg, key=None, **changes):
    key = key or KEYS[alg]
    return jose.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, CLAIMS | changes, key, algorithms=[alg])


def check(alg, text, key=None):
    jwk = (key or KEYS[alg]).as_dict(private=alg.startswith("HS")) | {"alg": alg, "use": "sig"}
    item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "algorithms": [alg]}
    issuers = parse_issuers([item | {"jwks": {"keys": [jwk]}}], None)
    return verify_token(text, issuers, {"main": issuers["main"].keys}, NOW)


@pytest.mark.parametrize("alg", KEYS)
def test_its_tokens_verify(alg):
    found = check(alg, token(alg, scope="read", grade="gold"))
    assert (found.subject, found.scope, found.claims["grade"]) == ("user-1", "read", "gold")


@pytest.mark.parametrize("alg", KEYS)
def test_its_tokens_by_another_key_do_not(alg):
    kinds = {"RS": (RSAKey, 2048), "PS": (RSAKey, 2048), "HS": (OctKey, 512), "Ed": (OKPKey, "Ed25519")}
    made, size = kinds.get(alg[:2]) or (ECKey, {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg])
    other = made.generate_key(size, {"kid": KEYS[alg].kid}, auto_kid=False)
    with pytest.raises(TokenError, match="bad_signature"):
        check(alg, token(alg, other))


@pytest.mark.parametrize(
    ("allowed", "said", "key_alg", "reason"),
    [
        (["EdDSA"], "EdDSA", "EdDSA", ""),
        (["Ed25519"], "Ed25519", "Ed25519", ""),
        (["Ed25519", "EdDSA"], "EdDSA", "Ed25519", ""),
        (["Ed25519", "EdDSA"], "Ed25519", "EdDSA", ""),
        (["Ed25519"], "Ed25519", None, ""),
        (["EdDSA"], "Ed25519", "Ed25519", "algorithm_not_allowed"),
        (["Ed25519"], "EdDSA", "EdDSA", "algorithm_not_allowed"),
        (["RS256", "ES256", "EdDSA"], "Ed25519", None, "algorithm_not_allowed"),
    ],
)
def test_the_two_names_of_one_algorithm(allowed, said, key_alg, reason):
    """RFC 9864: tokens may use the names that the issuer's algorithms say, keys either."""
    key = KEYS["EdDSA"]
    text = jose.encode({"alg": said, "kid": "ed"}, CLAIMS, key, algorithms=[said])
    jwk = {**key.as_dict(private=False), "use": "sig", **({"alg": key_alg} if key_alg else {})}
    item = {"name": "main", "iss": "https://a", "audiences": ["shop"], "algorithms": allowed}
    issuers = parse_issuers([item | {"jwks": {"keys": [jwk]}}], None)
    keys = {"main": issuers["main"].keys}
    if reason:
        with pytest.raises(TokenError, match=reason):
            verify_token(text, issuers, keys, NOW)
    else:
        assert verify_token(text, issuers, keys, NOW).subject == "user-1"


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "HS256"])
def test_it_reads_our_passports(alg):
    ring = Keyring(make_key(alg), "own")
    facts = Facts("r-1", "192.0.2.1", "", "GET", "", "/", "/", "", "", "", "", frozenset(), {})
    user = Identity("https://a", "user-1", "", "read")
    text = PassportOffice(ring, "kgate").issue(user, facts, parse({"issuers": ["main"]}), NOW)
    if alg == "HS256":
        keys = KeySet([OctKey.import_key(ring.private_bytes(), {"kid": "own"})])
    else:
        keys = KeySet.import_key_set(ring.public_jwks())
    found = jose.decode(text, keys, algorithms=[alg])
    assert (found.header["typ"], found.claims["sub"], found.claims["exp"]) == (
        "kgate-passport+jwt",
        "user-1",
        int(NOW) + 60,
    )
    with pytest.raises(BadSignatureError):
        jose.decode(text[:-6] + "AAAAAA", keys, algorithms=[alg])


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "HS256"])
def test_the_front_servers_helper_reads_a_passport_that_it_made(alg):
    key = KEYS[alg]
    claims = {
        **CLAIMS,
        "iss": "kgate",
        "aud": "shop",
        "txn": "r",
        "sub_iss": "https://a",
        "authn_level": "full",
    }
    text = jose.encode(
        {"alg": alg, "kid": key.kid, "typ": "kgate-passport+jwt"}, claims, key, algorithms=[alg]
    )
    jwks = {"keys": [key.as_dict(private=alg == "HS256") | {"alg": alg}]}
    assert verify_passport(text, jwks, "shop", now=NOW).subject == "user-1"
