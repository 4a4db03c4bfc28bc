"""The clients of `bench.abuse_record`: people and attackers who send real requests and wait for the answers.

Each draws from a generator of its own, so that one who waits longer changes nothing for the others.
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from bench.abuse_shop import SCRIPTS, SHOPS, USERS, password
from bench.abuse_traffic import BROWSERS

PEOPLE, BEHIND_NAT = 110, 90
NAT = "198.51.100.1"
ATTACK_SECONDS = 32.0
RATES = {
    "credential-stuffing": 2.0, "path-scan": 4.0, "user-enumeration": 3.0, "coupon-hammering": 5.0,
    "network-burst": 9.0, "bad-bots": 1.0, "error-storm": 4.0,
}  # fmt: skip
"""Requests a second of an attacker."""
OF_EACH = 2
_PARTS = (
    "admin",
    "backup",
    "wp-login.php",
    ".git/config",
    ".env",
    "cgi-bin/test",
    "phpmyadmin",
    "api/v1/debug",
)

Send = Callable[["Client", str, str, str], Awaitable[int]]
"""(client, method, path, body) -> status."""


class Client(NamedTuple):
    """Who sends. user: what he shows in Authorization, "" for nobody."""

    address: str
    agent: str
    user: str = ""


class Attacker(NamedTuple):
    """addresses: all he comes from; user: his name, or ""; start: seconds from the beginning."""

    name: str
    kind: str
    addresses: tuple[str, ...]
    user: str
    start: float


def attackers(seed: int, seconds: float) -> list[Attacker]:
    """Two of each kind, who begin within the time."""
    draw = random.Random(seed + 1)
    found = []
    for place, kind in enumerate(RATES):
        for number in range(OF_EACH):
            home = f"45.{30 + place}.{number}"
            addresses = (
                tuple(f"{home}.{host}" for host in range(1, 255))
                if kind == "network-burst"
                else (f"{home}.9",)
            )
            user = f"user-{USERS - 1 - number}" if kind == "coupon-hammering" else ""
            start = draw.uniform(seconds * 0.1, seconds - ATTACK_SECONDS - 5)
            found.append(Attacker(f"{kind} {number}", kind, addresses, user, start))
    return found


async def attack(who: Attacker, seed: int, send: Send) -> None:
    """An attack at its rate."""
    draw = random.Random(f"{seed} {who.name}")
    loop = asyncio.get_running_loop()
    agent = "sqlmap/1.7.2#stable (https://sqlmap.org)" if who.kind == "bad-bots" else draw.choice(BROWSERS)
    await asyncio.sleep(who.start)
    end = loop.time() + ATTACK_SECONDS
    while loop.time() < end:
        client = Client(draw.choice(who.addresses), agent, who.user)
        user = f"user-{draw.randrange(USERS)}"
        method, path, body = "GET", "/", ""
        match who.kind:
            case "credential-stuffing" | "network-burst":
                right = draw.random() < 0.02
                method, path = "POST", "/api/login"
                body = f"user={user}&password={password(user) if right else draw.randrange(10**6)}"
            case "path-scan":
                path = f"/{draw.choice(_PARTS)}/{draw.randrange(10**4)}"
            case "user-enumeration":
                path = f"/users/user-{draw.randrange(USERS * 12)}"
            case "coupon-hammering":
                method, path = "POST", "/coupons/redeem"
            case "bad-bots":
                path = f"/shops/{draw.randrange(SHOPS)}?id=1%20OR%201=1"
            case "error-storm":
                path = f"/search?q={draw.randrange(1000)}%27"
        await send(client, method, path, body)
        await asyncio.sleep(draw.expovariate(RATES[who.kind]))


def people() -> list[Client]:
    """Some with an address of their own, some behind one."""
    own = [f"203.0.113.{number + 1}" for number in range(PEOPLE)]
    return [
        Client(address, BROWSERS[number % len(BROWSERS)], f"user-{number}")
        for number, address in enumerate([*own, *[NAT] * BEHIND_NAT])
    ]


async def live(who: Client, seed: int, seconds: float, send: Send) -> None:
    """Logs in, loads pages, orders; at half time many want a coupon."""
    draw = random.Random(f"{seed} {who.user}")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    rush = begun + seconds / 2 + draw.expovariate(1 / 5) if draw.random() < 0.5 else None
    guest = who._replace(user="")
    # behind the one address a shift begins
    await asyncio.sleep(draw.uniform(0, 20 if who.address == NAT else 60))
    await _log_in(guest, who.user, draw, send)
    while loop.time() < begun + seconds:
        if rush is not None and loop.time() > rush:
            rush = None
            for _ in range(draw.choice((1, 1, 2, 3, 5))):
                await send(who, "POST", "/coupons/redeem", "")
                await asyncio.sleep(draw.uniform(0.4, 2))
        await _page(who, draw, send)
        if draw.random() < 0.04:
            await _log_in(guest, who.user, draw, send)
        pause = draw.expovariate(1 / 55)
        left = (rush if rush is not None else begun + seconds) - loop.time()
        await asyncio.sleep(max(0.1, min(pause, left)))


async def _log_in(who: Client, user: str, draw: random.Random, send: Send) -> None:
    while draw.random() < 0.03:
        await send(who, "POST", "/api/login", f"user={user}&password=mistyped")
        await asyncio.sleep(draw.uniform(1, 4))
    await send(who, "POST", "/api/login", f"user={user}&password={password(user)}")


async def _page(who: Client, draw: random.Random, send: Send) -> None:
    await send(who, "GET", draw.choice(("/", f"/shops/{draw.randrange(SHOPS)}")), "")
    for _ in range(draw.randrange(1, 6)):
        is_broken = draw.random() < 0.02
        await send(who, "GET", f"/static/{draw.randrange(SCRIPTS) + SCRIPTS * is_broken}.js", "")
        await asyncio.sleep(draw.uniform(0.02, 0.2))
    if draw.random() < 0.1:
        await send(who, "GET", f"/users/user-{draw.randrange(USERS + 5)}", "")
    if draw.random() < 0.1:
        await send(who, "GET", "/search?q=" + draw.choice(("pizza", "soup", "joe%27s", "tea")), "")
    if draw.random() < 0.1:
        await send(who, "POST", "/orders", "item=1")


async def crawl(seed: int, seconds: float, send: Send) -> None:
    """A search engine."""
    draw = random.Random(f"{seed} crawler")
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    who = Client("66.249.66.1", "Mozilla/5.0 (compatible; Googlebot/2.1)")
    while loop.time() < end:
        await send(who, "GET", f"/shops/{draw.randrange(SHOPS + 10)}", "")
        await asyncio.sleep(draw.expovariate(1.0))


def sender(port: int, host: str) -> Send:
    """Sends to a proxy on loopback, each request on a connection of its own, as a load balancer forwards it."""

    async def send(client: Client, method: str, path: str, body: str) -> int:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host}",
            f"User-Agent: {client.agent}",
            "Connection: close",
        ]
        lines.append(f"X-Forwarded-For: {client.address}")
        if client.user:
            word = base64.b64encode(f"{client.user}:{password(client.user)}".encode()).decode()
            lines.append(f"Authorization: Basic {word}")
        if method == "POST":
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write("\r\n".join([*lines, "", body]).encode())
            found = re.match(rb"HTTP/1\.1 (\d{3})", await reader.read())
            return int(found[1]) if found else 0
        finally:
            writer.close()

    return send
