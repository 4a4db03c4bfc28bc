"""Leases: nobody gets what is another one's, and all get what they would get without leases."""

from __future__ import annotations

import random

import jwt

from tests.e2e.gateway import steady, wait_until
from tests.e2e.lease_gateway import LeaseGateway
from tests.e2e.loops import Person, closes

ODD: list[list[tuple[str, str]]] = [
    [],
    [("User-Agent", "curl/8")],
    [("User-Agent", "\xff\xfe")],
    [("Cookie", "a=1"), ("Cookie", "b=2")],
    [("X-Device-Id", "phone-1")],
    [("X-Device-Id", "phone-2")],
    [("X-Device-Id", "phone-1"), ("X_Device_Id", "phone-2")],
    [("Accept", "text/html")],
    [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")],
    [("X-Passport", "forged")],
    [("X_Passport", "forged"), ("X-Canary", "all=canary")],
    [("Connection", "X-Passport")],
    [("Origin", "https://shop.example")],
    [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "GET")],
    [("Cookie", "x=" + "y" * 8300)],
    [("Authorization", "")],
    [("Authorization", "Bearer")],
]
ITS_OWN = ("x-passport", "x-kong-request-id", "connection", "host", "traceparent")
"""What may differ from one request to the next, and passports, which are looked into."""
METHODS = ["GET"] * 3 + ["HEAD", "OPTIONS", "POST", "DELETE"]
PATHS = [
    "/all/echo",
    "/one/echo",
    "/two/echo",
    "/full/echo",
    "/all/echo/../echo",
    "/guarded/echo",
    "/all/%2e/echo?x=1",
]


def mixed(given: LeaseGateway, seed: int, people: list[Person], rounds: int) -> list[tuple[object, ...]]:
    """What a random load gets: all that may not depend on whether somebody was asked."""
    dice = random.Random(seed)
    found = []
    who, path, left = people[0], PATHS[0], 0
    for _ in range(rounds):
        if not left:
            who, path, left = dice.choice(people), dice.choice(PATHS), dice.randint(5, 15)
        left -= 1
        other, plain = dice.choice(people), dice.random() < 0.6  # what is alike is leased
        headers = [] if plain else list(dice.choice(ODD))
        method = "GET" if plain else dice.choice(METHODS)
        if dice.random() < 0.1:  # two tokens
            headers += [("Authorization", f"Bearer {one.token}") for one in (who, other)]
        if dice.random() < 0.1:
            headers = [each for each in headers if each[0] != "Authorization"]
            headers.append(("Authorization", f"Bearer {other.token}"))
        sent = [value for name, value in headers if name == "Authorization"] or [f"Bearer {who.token}"]
        each = who(path, method, headers)
        claims = {}
        if each.passport:
            assert "," not in each.passport, "one passport"
            claims = jwt.decode(each.passport, options={"verify_signature": False})
            owner = [one for one in people if sent == [f"Bearer {one.token}"]]
            assert [one.name for one in owner] == [claims["sub"]], (sent, claims)
            assert claims["ip"] == who.address
            device = [value for name, value in headers if name in ("X-Device-Id", "X_Device_Id")]
            assert claims.get("device") == (", ".join(device) or None) or len(device) > 1
        own = sorted(pair for pair in each.seen if pair[0].lower() not in ITS_OWN)
        told = {key: claims.get(key) for key in ("sub", "ip", "device", "canary", "aud", "authn_level")}
        found.append((who.name, path, method, *each.told, told, own))
    return found


def test_a_mixed_load_gets_what_it_would_get_without_leases(given: LeaseGateway) -> None:
    people = [given.person() for _ in range(20)]
    for path in PATHS:
        closes(path, people[0])
    before = given.leased()
    seed = random.randrange(1 << 30)
    # again and again the same few people: most of it is leased
    with_leases = mixed(given, seed, people, 1500)
    wait_until(lambda: given.leased() > before + 100, 5, "leases were used")
    given.restart_with(leases=False)
    try:
        before = steady(given.leased)
        without = mixed(given, seed, people, 1500)
        assert steady(given.leased) == before
    finally:
        given.restart_with(leases=True)
    assert with_leases == without, f"seed {seed}"
