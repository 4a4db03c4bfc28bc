"""Under which key a request counts: readable text ("per-user user=https://auth.example|alice"), the same that
`kgate limits reset` takes. The counters keep its keyed hash alone.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from kong_plugins.abuse_guard.limit_config import Limit
from kong_plugins.engine.facts import Facts
from kong_plugins.state.addresses import address_halves, number_address

_LONGEST = 200


@lru_cache(maxsize=8192)
def counted(ip: str) -> str:
    """What is counted as one address: IPv4 as it is, IPv6 by /64, which is what one customer gets at least.

    Raises ValueError for what is no address.
    """
    version, high, low = address_halves(ip)
    return number_address(4, low) if version == 4 else number_address(6, high << 64) + "/64"


def short(text: str) -> str:
    """A client's text within a key: as it is where it is short and printable, else its hash."""
    if len(text) <= _LONGEST and text.isprintable() and " " not in text:
        return text
    return "#" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def key_of(limit: Limit, facts: Facts, address: str) -> str:
    """Under which name a request counts."""
    only = limit.only  # the most common ones, without the walk
    if only == "ip":
        return limit.begin + address
    if only == "user" and facts.identity is not None:
        return limit.begin + short(facts.identity.key)
    if only == "route":
        return limit.begin + facts.route
    key = limit.name
    for part in limit.parts:
        if part == "ip":
            key += f" ip={address}"
        elif part == "route":
            key += f" route={facts.route}"
        elif part == "tenant":
            key += f" tenant={facts.tenant}"
        elif part == "user":
            key += f" user={short(facts.identity.key) if facts.identity else ''}"
        elif part == "token":
            key += f" token={_token(facts)}"
        else:
            value = facts.headers.get(part[7:])
            # who leaves the header out must not share a count with everybody who does
            key += f" {part}={short(value)}" if value else f" {part} ip={address}"
    return key


def _token(facts: Facts) -> str:
    who = facts.identity
    if who is None:
        return ""
    return short(f"{who.issuer}|{who.token_id}") if who.token_id else "#" + who.token.hex()[:24]
