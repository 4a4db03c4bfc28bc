"""Made traffic for `bench.abuse_replay`: an hour's normal life in a few minutes, and attacks. Seeded.

Normal: people with an address each, who load pages in bursts; 2,000 people behind one address, who all log in when
their shift begins; 3% of the logins fail; links that are broken; phones that change networks; a search engine; a
coupon rush at noon.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

NAT_ADDRESS = "198.51.100.1"
NAT_PEOPLE, PEOPLE = 2_000, 600
BROKEN_LINKS = [f"/static/old-{number}.png" for number in range(40)]
BROWSERS = [
    f"Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/20100101 Firefox/{number}.0"
    for number in range(90, 130)
]
ISSUER = "https://auth.example"


class Request(NamedTuple):
    """One request and what the service would answer. time: seconds from the start. user: verified, or "". attack: the
    scenario that should find it, "" for normal traffic; attacker: whom it should find."""

    time: float
    ip: str
    method: str
    path: str
    status: int
    agent: str
    user: str = ""
    token: str = ""
    attack: str = ""
    attacker: str = ""


class Attack(NamedTuple):
    """rate: requests a second at x1."""

    name: str
    rate: float


ATTACKS = (
    Attack("credential-stuffing", 2.0),
    Attack("path-scan", 5.0),
    Attack("user-enumeration", 3.0),
    Attack("token-sharing", 2.0),
    Attack("coupon-hammering", 5.0),
    Attack("network-burst", 10.0),
    Attack("bad-bots", 1.0),
    Attack("error-storm", 4.0),
)
ATTACKERS = 3
"""Of each kind."""


def normal(seed: int, seconds: float) -> list[Request]:
    """The normal traffic in the order of time; noon is at the middle."""
    draw = random.Random(seed)
    found: list[Request] = []
    for number in range(PEOPLE):
        address = f"203.0.{number % 200}.{10 + number // 200}"
        found += _person(draw, f"user-{number}", address, seconds, pause=40.0)
    for number in range(NAT_PEOPLE):
        found += _person(draw, f"nat-{number}", NAT_ADDRESS, seconds, pause=180.0)
    found += _shift(draw, seconds)
    found += _rush(draw, seconds)
    found += _search_engine(draw, seconds)
    found.sort(key=lambda request: request.time)
    return found


def _person(draw: random.Random, user: str, address: str, seconds: float, pause: float) -> Iterator[Request]:
    agent, token = draw.choice(BROWSERS), f"token-{user}"
    now = draw.uniform(0, pause * 2)
    is_in = draw.random() < 0.7
    changes_at = draw.uniform(0, seconds) if draw.random() < 0.05 else None
    while now < seconds:
        if changes_at is not None and now > changes_at:
            address, changes_at = f"100.20.{draw.randrange(256)}.{draw.randrange(256)}", None
        if not is_in and draw.random() < 0.5:
            is_in = draw.random() >= 0.03
            yield Request(now, address, "POST", "/api/login", 200 if is_in else 401, agent)
            now += draw.uniform(2, 6)
            continue
        who = (user, token) if is_in else ("", "")
        yield Request(now, address, "GET", f"/shops/{draw.randrange(5000)}", 200, agent, *who)
        for _ in range(draw.randrange(2, 9)):  # what the page loads
            broken = draw.random() < 0.01
            path = draw.choice(BROKEN_LINKS) if broken else f"/static/{draw.randrange(300)}.js"
            status = 404 if broken else 500 if draw.random() < 0.002 else 200
            yield Request(now + draw.uniform(0.05, 1.0), address, "GET", path, status, agent, *who)
        if draw.random() < 0.1:
            status = 404 if draw.random() < 0.02 else 200
            yield Request(now + 1, address, "GET", f"/users/{draw.randrange(9000)}", status, agent, *who)
        if is_in and draw.random() < 0.05:
            yield Request(now + 2, address, "POST", "/orders", 201, agent, *who)
        now += draw.expovariate(1 / pause)


def _shift(draw: random.Random, seconds: float) -> Iterator[Request]:
    """The shift begins: all behind the one address log in within two minutes, 3% of the tries fail."""
    for _ in range(NAT_PEOPLE):
        now, agent = seconds / 10 + draw.uniform(0, min(120, seconds / 3)), draw.choice(BROWSERS)
        while draw.random() < 0.03:
            yield Request(now, NAT_ADDRESS, "POST", "/api/login", 401, agent)
            now += draw.uniform(2, 6)
        yield Request(now, NAT_ADDRESS, "POST", "/api/login", 200, agent)


def _rush(draw: random.Random, seconds: float) -> Iterator[Request]:
    """At noon a coupon comes out: many try, again and again, most in vain."""
    noon = seconds / 2
    for number in draw.sample(range(PEOPLE), PEOPLE * 2 // 3):
        address, agent, user = (
            f"203.0.{number % 200}.{10 + number // 200}",
            draw.choice(BROWSERS),
            f"user-{number}",
        )
        yield from _redeem(draw, noon, address, agent, user)
    for number in draw.sample(range(NAT_PEOPLE), NAT_PEOPLE // 2):
        yield from _redeem(draw, noon, NAT_ADDRESS, draw.choice(BROWSERS), f"nat-{number}")


def _redeem(draw: random.Random, noon: float, address: str, agent: str, user: str) -> Iterator[Request]:
    now = noon + draw.expovariate(1 / 8.0)
    for _ in range(draw.choice((1, 1, 2, 3, 5, 8))):
        status = 200 if draw.random() < 0.2 else 409
        yield Request(now, address, "POST", "/coupons/redeem", status, agent, user, f"token-{user}")
        now += draw.uniform(0.4, 3)


def _search_engine(draw: random.Random, seconds: float) -> Iterator[Request]:
    now = 0.0
    while now < seconds:
        status = 404 if draw.random() < 0.02 else 200
        path = f"/shops/{draw.randrange(9000)}"
        yield Request(now, "66.249.66.1", "GET", path, status, "Mozilla/5.0 (compatible; Googlebot/2.1)")
        now += draw.expovariate(2.0)


def attacks(seed: int, seconds: float, factor: float) -> tuple[list[Request], dict[str, float]]:
    """Attacks at `factor` times their rates, in the order of time, and when each attacker starts."""
    draw = random.Random(seed + 1)
    found: list[Request] = []
    starts: dict[str, float] = {}
    for attack in ATTACKS:
        for number in range(ATTACKERS):
            attacker = f"{attack.name} {number}"
            now = starts[attacker] = draw.uniform(20, seconds * 0.6)
            end = min(seconds, now + 120)
            while now < end:
                found.append(_hit(draw, attack.name, number, now, attacker))
                now += draw.expovariate(attack.rate * factor)
    found.sort(key=lambda request: request.time)
    return found, starts


def _hit(draw: random.Random, kind: str, number: int, now: float, attacker: str) -> Request:
    home = f"45.{[each.name for each in ATTACKS].index(kind)}.{number}"  # a /24 of his own
    address, agent = f"{home}.9", BROWSERS[number]
    user = token = ""
    method, path, status = "GET", "/", 200
    chance = draw.random()
    if kind == "credential-stuffing":
        method, path, status = "POST", "/api/login", 401 if chance < 0.98 else 200
    elif kind == "path-scan":
        path = f"/{draw.choice(('admin', 'backup', 'wp', '.git'))}/{draw.randrange(10**6)}"
        status = 404 if chance < 0.97 else 200
    elif kind == "user-enumeration":
        path, status = f"/users/{draw.randrange(10**6)}", 404 if chance < 0.9 else 200
    elif kind == "token-sharing":
        address = f"45.{100 + number}.{draw.randrange(20)}.7"
        user, token, path = f"shared-{number}", f"token-shared-{number}", f"/shops/{draw.randrange(5000)}"
    elif kind == "coupon-hammering":
        user, token = f"hammer-{number}", f"token-hammer-{number}"
        method, path, status = "POST", "/coupons/redeem", 200 if chance < 0.2 else 409
    elif kind == "network-burst":
        address = f"{home}.{draw.randrange(1, 255)}"
        method, path, status = "POST", "/api/login", 401 if chance < 0.95 else 200
    elif kind == "bad-bots":
        agent, path = "sqlmap/1.7.2#stable (https://sqlmap.org)", f"/shops/{draw.randrange(99)}"
    elif kind == "error-storm":
        path, status = "/search", 500 if chance < 0.9 else 200
    return Request(now, address, method, path, status, agent, user, token, kind, attacker)
