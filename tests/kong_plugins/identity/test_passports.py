"""Passports as they are issued: content, signature, reuse, size."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.passports import MAX_PASSPORT, PassportOffice, PassportTooLarge
from kong_plugins.identity.signing import b64url, make_key
from kong_plugins.passport.config import parse
from kong_plugins.verify import verify_passport

NOW = 1_800_000_000.25
KEY = ed25519.Ed25519PrivateKey.generate()
SOMEBODY = Identity("https://a", "user-1", "jti-1", "read", {"customer_tier": "gold", "roles": ["a"]})
FACTS = Facts("req-1", "198.51.100.7", "https", "GET", "h", "/", "/", "r", "s", "t", "", frozenset(), {})


def rule(**more):
    return parse({"issuers": ["main"]} | more)


def read(passport):
    parts = passport.split(".")
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts]


@pytest.fixture
def office():
    return PassportOffice(Keyring(KEY, "k1"), "kgate")


def test_content(office):
    config = rule(claims={"tier": "customer_tier", "groups": "roles", "mail": "email"}, audience="shop")
    passport = office.issue(SOMEBODY, FACTS, config, NOW)
    header, payload, signature = read(passport)
    assert json.loads(header) == {"alg": "EdDSA", "kid": "k1", "typ": "kgate-passport+jwt"}
    assert json.loads(payload) == {
        "iss": "kgate",
        "aud": "shop",
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
        "txn": "req-1",
        "sub": "user-1",
        "sub_iss": "https://a",
        "scope": "read",
        "ip": "198.51.100.7",
        "authn_level": "full",
        "tier": "gold",
        "groups": ["a"],
    }
    KEY.public_key().verify(signature, passport.rpartition(".")[0].encode())


def test_hs256():
    passport = PassportOffice(Keyring(b"s" * 32), "kgate").issue(SOMEBODY, FACTS, rule(), NOW)
    message, _, _ = passport.rpartition(".")
    assert read(passport)[2] == hmac.digest(b"s" * 32, message.encode(), hashlib.sha256)


@pytest.mark.parametrize(
    ("config", "later", "reused"),
    [
        ({}, 9.9, True),
        ({}, 10, False),
        ({}, -1, False),
        ({"reuse_for": 0}, 0, False),
        ({"ttl": 20, "reuse_for": 20}, 14.9, True),
        ({"ttl": 20, "reuse_for": 20}, 15, False),  # would reach the service with under 5 s to live
        ({"ttl": 5}, 0, False),
    ],
)
def test_reuse(office, config, later, reused):
    first = office.issue(SOMEBODY, FACTS, rule(**config), NOW)
    second = office.issue(SOMEBODY, FACTS._replace(request_id="req-2"), rule(**config), NOW + later)
    assert (first == second) is reused
    assert (json.loads(read(second)[1])["txn"] == "req-1") is reused


@pytest.mark.parametrize(
    ("user", "facts", "config"),
    [
        (SOMEBODY._replace(subject="user-2"), {}, {}),
        (SOMEBODY._replace(issuer="https://b"), {}, {}),
        (SOMEBODY._replace(scope="read admin"), {}, {}),
        (SOMEBODY._replace(claims={"customer_tier": "none"}), {}, {}),
        (SOMEBODY, {"ip": "203.0.113.9"}, {}),
        (SOMEBODY, {}, {"audience": "bank"}),
        (SOMEBODY, {}, {"ttl": 30}),
        (SOMEBODY, {}, {"claims": {"tier": "roles"}}),
    ],
)
def test_never_reused_for_another(office, user, facts, config):
    base = rule(claims={"tier": "customer_tier"})
    other = rule(**{"claims": {"tier": "customer_tier"}} | config)
    first = office.issue(SOMEBODY, FACTS, base, NOW)
    second = office.issue(user, FACTS._replace(**facts), other, NOW)
    assert first != second
    assert json.loads(read(second)[1])["sub"] == user.subject


def test_too_large(office):
    user = SOMEBODY._replace(claims={"roles": ["x" * 40] * 60, "small": 1})
    with pytest.raises(PassportTooLarge, match=r"^groups: ") as caught:
        office.issue(user, FACTS, rule(claims={"groups": "roles", "s": "small"}), NOW)
    assert isinstance(caught.value, ValueError)
    # and what is not mapped costs nothing
    assert len(office.issue(user, FACTS, rule(), NOW)) < MAX_PASSPORT


def test_any_text_is_a_safe_header(office):
    user = SOMEBODY._replace(subject="한글\u2028", claims={"t": "a\r\nX-Admin: 1\0"})
    passport = office.issue(user, FACTS, rule(claims={"t": "t"}), NOW)
    assert passport.isascii()
    assert passport.isprintable()


# what else is in it, and what keeps two passports apart


def claims_of(passport):
    return json.loads(read(passport)[1])


def test_two_addresses_with_one_token_within_the_time_of_reuse_get_two_passports(office):
    """Else the second would carry the first one's address."""
    first = office.issue(SOMEBODY, FACTS, rule(), NOW)
    second = office.issue(SOMEBODY, FACTS._replace(ip="203.0.113.9"), rule(), NOW + 1)
    assert (claims_of(first)["ip"], claims_of(second)["ip"]) == ("198.51.100.7", "203.0.113.9")
    assert office.issue(SOMEBODY, FACTS, rule(), NOW + 2) == first


@pytest.mark.parametrize(
    "change",
    [
        {"identity": SOMEBODY._replace(token=b"2")},
        {"identity": SOMEBODY._replace(level="token_only")},
        {"identity": SOMEBODY._replace(claims={"grade": "gold"})},
        {"identity": None},
        {"facts": FACTS._replace(ip="203.0.113.9")},
        {"facts": FACTS._replace(arm="v2=canary")},
        {"device": "phone-1"},
        {"rule": rule(audience="bank")},
        {"rule": rule(claims={"tier": "customer_tier"})},
        {"rule": rule(profile="txn-token", reuse_for=10)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_reuse_is_for_the_same_token_address_device_arm_and_rule(office, change):
    usual = rule()
    number = itertools.count()

    def issue(identity=SOMEBODY, facts=FACTS, rule=usual, device=""):
        facts = facts._replace(request_id=f"req-{next(number)}")  # in each passport that is made anew
        return office.issue(identity, facts, rule, NOW, device)

    first = issue()
    assert issue() == first
    other = issue(**change)
    assert other != first
    assert issue(**change) == other


def test_a_reused_passport_keeps_its_own_txn(office):
    first = office.issue(SOMEBODY, FACTS, rule(), NOW)
    again = office.issue(SOMEBODY, FACTS._replace(request_id="req-2"), rule(), NOW + 1)
    assert claims_of(again)["txn"] == claims_of(first)["txn"] == "req-1"


@pytest.mark.parametrize(
    ("level", "stale", "expected"),
    [
        ("full", False, "full"),
        ("full", True, "stale"),
        ("token_only", True, "token_only"),
        ("stale", False, "stale"),
    ],
)
def test_level(office, level, stale, expected):
    user = SOMEBODY._replace(level=level)
    passport = office.issue(user, FACTS, rule(), NOW, is_stale=lambda iss: stale and iss == "https://a")
    assert claims_of(passport)["authn_level"] == expected


def test_device_and_canary(office):
    found = claims_of(office.issue(SOMEBODY, FACTS._replace(arm="v2=canary"), rule(), NOW, "phone-1"))
    assert (found["device"], found["canary"]) == ("phone-1", "v2=canary")


def test_nobodys_passport(office):
    found = claims_of(office.issue(None, FACTS, rule(claims={"tier": "customer_tier"}), NOW))
    assert (found["sub"], found["sub_iss"], found["authn_level"]) == ("anonymous", "kgate", "anonymous")
    assert not {"scope", "tier"} & set(found)


def test_transaction_token(office):
    """The profile of draft-ietf-oauth-transaction-tokens: its required claims, its contexts, one per request."""
    config = rule(profile="txn-token", audience="shop.internal", claims={"tier": "customer_tier"})
    facts = FACTS._replace(arm="v2=control")
    passport = office.issue(SOMEBODY, facts, config, NOW, "phone-1")
    header, payload, _ = read(passport)
    assert json.loads(header)["typ"] == "txntoken+jwt"
    assert json.loads(payload) == {
        "iss": "kgate",
        "aud": "shop.internal",
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
        "txn": "req-1",
        "sub": "user-1",
        "sub_iss": "https://a",
        "scope": "read",
        "req_wl": "kgate",
        "rctx": {"req_ip": "198.51.100.7", "authn_level": "full", "device": "phone-1"},
        "tctx": {"tier": "gold", "canary": "v2=control"},
    }
    again = office.issue(SOMEBODY, facts._replace(request_id="req-2"), config, NOW, "phone-1")
    assert claims_of(again)["txn"] == "req-2"
    without = office.issue(SOMEBODY._replace(scope=""), FACTS, rule(profile="txn-token"), NOW)
    assert claims_of(without)["scope"] == "", "required, and never more than the token's"
    assert "tctx" not in claims_of(without)


@pytest.mark.parametrize("profile", ["kgate", "txn-token"])
def test_too_large_names_the_claim(office, profile):
    big = SOMEBODY._replace(claims={"roles": ["x" * 40] * 40, "customer_tier": "gold"})
    config = rule(profile=profile, claims={"tier": "customer_tier", "groups": "roles"})
    with pytest.raises(PassportTooLarge, match=r"^groups: ") as caught:
        office.issue(big, FACTS, config, NOW)
    assert caught.value.claim == "groups"


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256", "HS256"])
def test_every_algorithm(alg):
    ring = Keyring(make_key(alg), "k1")
    passport = PassportOffice(ring, "kgate").issue(SOMEBODY, FACTS, rule(), NOW)
    assert json.loads(read(passport)[0])["alg"] == alg
    jwk = ring.public_jwk() or {"kty": "oct", "k": b64url(ring.private_bytes()), "kid": "k1", "alg": "HS256"}
    assert "d" not in jwk
    assert verify_passport(passport, {"keys": [jwk]}, "kgate", now=NOW).subject == "user-1"
    assert len(passport) <= MAX_PASSPORT
