"""`stands_for` promises what `verify` and `issue` keep: the same user, the same passport, till then and no longer."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from kong_plugins.engine.facts import Facts
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import KeySnapshot, StaticKeys
from kong_plugins.identity.passports import PassportOffice
from kong_plugins.identity.tokens import TokenError
from kong_plugins.identity.trust import Trust
from kong_plugins.passport.config import parse

NOW = 1_800_000_000.0
MAIN = ("main",)
FIXED = ("r1", "198.51.100.7", "https", "GET", "h", "/", "/", "r", "s", "t", "")
FACTS = Facts(*FIXED, frozenset(), {})
LATER = FACTS._replace(request_id="r2", path="/x", raw_path="/x")


class Signer:
    """A keyring whose keys may be taken away."""

    def __init__(self):
        self.version = 1
        self.keyring = Keyring(b"s" * 32)

    def current(self, now):
        return self.keyring


class Site:
    def __init__(self, mint, enrichers=None, cached=100, **config):
        issuers = parse_issuers([mint.issuer() | config.pop("issuer", {})], Path())
        self.keys = StaticKeys({"main": issuers["main"].keys})
        self.signer = Signer()
        self.trust = Trust(issuers, self.keys, self.signer, cached=cached, enrichers=enrichers)
        self.config = parse({"issuers": ["main"]} | config)

    def use(self, token, now=NOW, facts=FACTS, device=""):
        self.identity = self.trust.verify(token, MAIN, now)
        return self.trust.issue(self.identity, facts, self.config, now, device)

    def stands(self, now=NOW, facts=FACTS, names=MAIN, device=""):
        return self.trust.stands_for(self.identity, facts, self.config, names, now, device)


@pytest.mark.parametrize(
    ("changes", "config", "seconds", "passport_ends"),
    [
        ({}, {}, 10, True),
        ({"exp": int(NOW) + 7}, {}, 7, False),
        ({"exp": int(NOW) + 10}, {}, 10, False),
        ({}, {"reuse_for": 25}, 25, True),
        ({}, {"reuse_for": 600, "ttl": 600}, 60, False),
        ({}, {"issuer": {"max_age": 14}}, 4, False),
        ({}, {"reuse_for": 0}, 0, True),
    ],
)
def test_the_same_passport_is_given_till_then(mint, changes, config, seconds, passport_ends):
    token = mint.token(**changes)
    site = Site(mint, **config)
    passport = site.use(token)
    assert site.stands() == seconds
    if not seconds:
        return
    assert site.stands(NOW + seconds - 0.5) == 0.5
    assert site.use(token, NOW + seconds - 0.001, LATER) == passport
    assert site.stands(NOW + seconds) == 0
    assert site.stands(NOW + seconds + 5) == 0
    if passport_ends:
        assert site.use(token, NOW + seconds, LATER) != passport
        assert site.stands(NOW + seconds) > 0


def test_the_office_says_until_when_it_hands_out(mint):
    """And gives another passport from then on."""
    office = PassportOffice(Signer(), "kgate")
    site = Site(mint)
    site.use(mint.token())
    identity, rule = site.identity, site.config
    assert office.handed_out_until(identity, FACTS, rule, NOW, "") == NOW, "nothing was issued"
    passport = office.issue(identity, FACTS, rule, NOW)
    until = office.handed_out_until(identity, FACTS, rule, NOW, "")
    assert until == NOW + 10
    assert office.handed_out_until(identity, LATER, rule, NOW + 9.9, "") == until
    assert office.issue(identity, LATER, rule, until - 0.001) == passport
    assert office.handed_out_until(identity, FACTS, rule, until + 1, "") == until + 1
    assert office.handed_out_until(identity, FACTS, rule, NOW - 1, "") == NOW - 1, "before it was made"
    assert office.issue(identity, LATER, rule, until) != passport
    assert office.handed_out_until(identity, FACTS, rule, until, "") == until + 10


@pytest.mark.parametrize(
    "other",
    [
        {"facts": FACTS._replace(ip="198.51.100.8")},
        {"facts": FACTS._replace(arm="v2=canary")},
        {"device": "d1"},
        {"rule": parse({"issuers": ["main"], "audience": "shop"})},
        {"owner": {"scope": "admin"}},
        {"owner": {"claims": {"tier": "gold"}}},
        {"owner": {"token": b"x" * 32}},
    ],
)
def test_of_another_passport_it_says_nothing(mint, other):
    office, site = PassportOffice(Signer(), "kgate"), Site(mint)
    site.use(mint.token())
    office.issue(site.identity, FACTS, site.config, NOW)
    identity = site.identity._replace(**other.get("owner", {}))
    place = other.get("facts", FACTS), other.get("rule", site.config)
    assert office.handed_out_until(identity, *place, NOW + 1, other.get("device", "")) == NOW + 1


def test_not_after_a_key_was_taken_away(mint):
    site, token = Site(mint), mint.token()
    passport = site.use(token)
    stamp = site.trust.stamp()
    assert site.trust.stamp() == stamp
    site.signer.version = 2
    assert site.trust.stamp() != stamp
    assert site.stands() == 0
    assert site.use(token, NOW, LATER) != passport
    assert site.stands() == 10
    stamp = site.trust.stamp()
    site.keys._snapshot = KeySnapshot(2, {})
    assert site.trust.stamp() != stamp
    assert site.stands() == 0
    with pytest.raises(TokenError):
        site.use(token)


def test_not_with_other_issuers_than_it_was_verified_for(mint):
    site = Site(mint)
    site.use(mint.token())
    assert site.stands(names=("main", "other")) == 0
    assert site.stands() == 10


def test_not_before_it_was_good(mint):
    site = Site(mint)
    site.use(mint.token(nbf=int(NOW) + 20), NOW)  # within the leeway
    passport_from = NOW - 100
    site.trust.issue(site.identity, FACTS, site.config, passport_from)
    assert site.stands(passport_from) == 0


def test_in_whatever_order_things_come_it_is_kept(mint):
    """A token's passport at any time before what was promised last is the one of the promise."""
    chance = Random(5)
    looked = 0
    for _ in range(40):
        ttl = chance.choice((8, 30, 100))
        site = Site(mint, ttl=ttl, reuse_for=chance.choice((2, 7)))
        token = mint.token(exp=int(NOW) + chance.choice((3, 8, 600)))
        now, promised, passport = NOW, NOW, ""
        while now < NOW + 14:
            try:
                given = site.use(token, now, FACTS._replace(request_id=str(now)))
            except TokenError:
                assert now >= promised
                break
            if now < promised:
                looked += 1
                assert given == passport
            passport, promised = given, now + site.stands(now)
            now += chance.choice((0.1, 0.9, 2.0))
    assert looked > 100
