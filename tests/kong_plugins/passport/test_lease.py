"""For how long passport's decision stands: while the token is believed and its passport is handed out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kong_plugins.engine import chain
from kong_plugins.engine.facts import Identity
from kong_plugins.engine.lease import NONE, Lease
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import KeySnapshot, StaticKeys
from kong_plugins.identity.trust import KEEP_VERIFIED, Trust
from kong_plugins.passport.config import parse
from kong_plugins.passport.core import LASTS_FROM
from kong_plugins.passport.lease import lease
from kong_plugins.state.base import State
from kong_plugins.state.snapshot import empty_snapshot

from .test_core import KEY, NOW, b64, make_state, make_token, request

JWK = {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}
ISSUER = {"name": "main", "iss": "https://a", "audiences": ["shop"], "jwks": {"keys": [JWK]}}


class Site:
    """One route, asked by one token."""

    def __init__(self, token=None, state=None, headers=None, **config):
        self.state = state or make_state()
        self.config = parse({"issuers": ["main"]} | config)
        authorization = None if token == "" else f"Bearer {token or make_token()}"
        self.facts = request(authorization, **(headers or {}))
        self.chain = chain.build({"passport": self.config})

    def ask(self, now=NOW):
        self.verdict = chain.run(self.facts, self.chain, self.state, now)
        return self

    def lease(self, now=NOW):
        return chain.lease(self.facts, self.chain, self.verdict, self.state, now)


@pytest.mark.parametrize(
    ("exp", "config", "seconds"),
    [
        (600, {}, 10),
        (600, {"reuse_for": 30}, 30),
        (600, {"reuse_for": 3600, "ttl": 3600}, KEEP_VERIFIED),
        (600, {"reuse_for": 20, "ttl": 20}, 15),
        (4, {}, 4),
        (10, {}, 10),
        (0.5, {"reuse_for": 1}, 0.5),
        (600, {"reuse_for": 0}, 0),
        (600, {"ttl": 5}, 0),
        (600, {"profile": "txn-token"}, 0),
        (600, {"profile": "txn-token", "reuse_for": 7}, 7),
        (600, {"token_from": ["authorization", "cookie:t"]}, 10),
    ],
)
def test_until_the_token_or_its_passport_ends(exp, config, seconds):
    site = Site(make_token(exp=NOW + exp), **config).ask()
    assert site.lease() == Lease(seconds)
    if seconds > 2:
        assert site.lease(NOW + 2) == Lease(seconds - 2)
        assert site.lease(NOW + seconds) == NONE


def test_none_without_a_user():
    assert Site("", mode="optional").ask().lease() == NONE
    assert Site("", mode="optional", anonymous="passport").ask().lease() == NONE
    site = Site("", mode="required").ask()
    assert site.verdict.status == 401
    assert site.lease() == NONE


def test_none_with_issuers_of_the_routes_own():
    issuers = parse_issuers([ISSUER], Path())
    state = State(
        empty_snapshot(),
        Trust(issuers, StaticKeys({"main": issuers["main"].keys}), Keyring(b"s" * 32), inline_issuers=True),
    )
    inline = json.dumps([ISSUER | {"name": "own", "iss": "https://own"}])
    site = Site(state=state, inline_issuers=inline).ask()
    assert site.verdict.status is None
    # the server's own trust knows him too, by another route
    assert Site(state=state).ask().lease() == Lease(10)
    assert site.lease() == NONE


@pytest.mark.parametrize("level", ["token_only", "stale"])
def test_none_for_who_is_not_known_in_full(level):
    site = Site().ask()
    known = site.verdict.identity
    facts = site.facts.of(known._replace(level=level))
    site.state.trust.issue(facts.identity, facts, site.config, NOW)
    assert lease(facts, site.config, site.state, NOW) == NONE


def test_none_where_the_issuer_is_asked_about_its_users():
    class Asked:
        def of(self, digest, token, identity, now):
            return identity

        def wait_for(self, digest, now):
            return 0.0

    issuers = parse_issuers([ISSUER], Path())
    keys = StaticKeys({"main": issuers["main"].keys})
    trust = Trust(issuers, keys, Keyring(b"s" * 32), enrichers={"https://a": Asked()})
    assert Site(state=State(empty_snapshot(), trust)).ask().lease() == NONE
    other = Trust(issuers, keys, Keyring(b"s" * 32), enrichers={"https://b": Asked()})
    assert Site(state=State(empty_snapshot(), other)).ask().lease() == Lease(10)


def test_none_with_other_keys_of_the_issuer_or_of_the_gateway():
    class Keys(StaticKeys):
        pass

    issuers = parse_issuers([ISSUER], Path())
    keys = Keys({"main": issuers["main"].keys})

    class Signer:
        version = 1

        def current(self, now):
            return Keyring(b"s" * 32)

    signer = Signer()
    trust = Trust(issuers, keys, signer)
    site = Site(state=State(empty_snapshot(), trust)).ask()
    before = trust.stamp()
    assert site.lease() == Lease(10)
    keys._snapshot = KeySnapshot(2, keys.snapshot().sets)
    assert trust.stamp() != before
    assert site.lease() == NONE
    assert site.ask().lease() == Lease(10)
    before = trust.stamp()
    signer.version = 2
    assert trust.stamp() != before
    assert site.lease() == NONE
    assert site.ask().lease() == Lease(10)


def test_of_each_device_its_own():
    site = Site(device="header:x-device", headers={"x-device": "d1"}).ask()
    assert site.lease() == Lease(10)
    facts = site.facts._replace(headers=site.facts.headers | {"x-device": "d2"})
    assert chain.lease(facts, site.chain, site.verdict, site.state, NOW) == NONE, "no passport names it"


def test_none_of_another_address_or_arm():
    site = Site().ask()
    other = site.facts._replace(ip="198.51.100.8")
    assert chain.lease(other, site.chain, site.verdict, site.state, NOW) == NONE
    assert (
        chain.lease(site.facts, site.chain, site.verdict._replace(arm="v2=canary"), site.state, NOW) == NONE
    )


def test_none_of_a_token_that_has_no_digest_and_of_one_that_was_not_verified():
    site = Site().ask()
    for identity in (Identity("https://a", "user-1"), site.verdict.identity._replace(token=b"x" * 32)):
        facts = site.facts.of(identity)
        site.state.trust.issue(identity, facts, site.config, NOW)
        assert lease(facts, site.config, site.state, NOW) == NONE


@pytest.mark.parametrize(
    ("config", "stands"),
    [
        ({"token_from": ["header:traceparent"]}, False),
        ({"token_from": ["authorization", "header:Traceparent"]}, False),
        ({"device": "header:traceparent"}, False),
        ({"token_from": ["authorization", "header:x-token"]}, True),
        ({"device": "header:x-trace"}, True),
        ({"device": "cookie:traceparent"}, True),
    ],
)
def test_none_where_a_header_says_who_it_is_in_which_alike_requests_differ(config, stands):
    token = make_token()
    if config.get("token_from") == ["header:traceparent"]:
        site = Site("", headers={"traceparent": token}, **config)
    else:
        site = Site(token, **config)
    for _ in range(LASTS_FROM):
        site.ask()
    assert site.verdict.identity.subject == "user-1"
    assert (site.lease().seconds > 0) is stands


def test_none_before_the_token_is_good_or_when_the_clock_was_set_back():
    site = Site(make_token(nbf=NOW - 100)).ask()
    assert site.lease(NOW - 1) == NONE, "its passport is handed out from NOW on"
