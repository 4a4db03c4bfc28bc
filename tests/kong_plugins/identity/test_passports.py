"""Passports as they are issued: content, signature, reuse, size."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.passports import MAX_PASSPORT, PassportOffice, PassportTooLarge
from kong_plugins.passport.config import parse

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
