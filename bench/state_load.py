"""A million blocks to measure with, and addresses to ask for."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_network

from kong_plugins.state.records import Record, StateDump

BULK = "b" * 32
QUESTIONS = 20_000


def rows(count: int, seed: int = 1) -> dict[str, str]:
    """`count` rows as an import has them: IPv4 addresses 60%, IPv4 networks 15% (/16 to /30), IPv6 addresses 15%
    and networks 10% (/32 to /64), the IPv6 ones in 2,000 providers' /32."""
    draw = random.Random(seed)
    providers = [0x2001_0000 + draw.getrandbits(16) for _ in range(1000)]
    providers += [0x2A00_0000 + draw.getrandbits(20) for _ in range(1000)]
    made: dict[str, str] = {}
    while len(made) < count:
        kind = draw.random()
        if kind < 0.6:
            made[f"ip {IPv4Address(draw.getrandbits(32))}"] = ""
        elif kind < 0.75:
            bits = draw.randint(16, 30)
            made[f"cidr {IPv4Address(draw.getrandbits(bits) << (32 - bits))}/{bits}"] = ""
        elif kind < 0.9:
            made[f"ip {IPv6Address(_in(draw, providers, 128))}"] = ""
        else:
            bits = draw.randint(32, 64)
            made[f"cidr {IPv6Address(_in(draw, providers, bits) << (128 - bits))}/{bits}"] = ""
    return made


def _in(draw: random.Random, providers: list[int], bits: int) -> int:
    number = draw.choice(providers) << 96 | draw.getrandbits(64) | draw.getrandbits(16) << 80
    return number >> (128 - bits)


def dump(held: dict[str, str]) -> StateDump:
    """The rows as one imported set of a store."""
    data = {"kind": "blocks", "count": len(held), "bulk": BULK}
    record = Record("sources", "bench", data, 1, "bench", "a long list", source="import:bench")
    return StateDump(1, {"sources": [record]}, {BULK: held})


def questions(held: dict[str, str], seed: int = 2) -> dict[str, list[str]]:
    """Addresses by what the answer is: hits are addresses of rows and addresses inside networks, in turn."""
    draw = random.Random(seed)
    keys, count = list(held), min(QUESTIONS, len(held))
    found: dict[str, list[str]] = {"IPv4 hit": [], "IPv6 hit": [], "IPv4 any": [], "IPv6 any": []}
    while min(len(found["IPv4 hit"]), len(found["IPv6 hit"])) < count:
        network = ip_network(draw.choice(keys).partition(" ")[2])
        name = f"IPv{network.version} hit"
        if len(found[name]) < count:
            found[name].append(str(network[draw.randrange(network.num_addresses)]))
    for _ in range(count):
        found["IPv4 any"].append(str(IPv4Address(draw.getrandbits(32))))
        found["IPv6 any"].append(str(IPv6Address(0x2A << 120 | draw.getrandbits(120))))
    return found
