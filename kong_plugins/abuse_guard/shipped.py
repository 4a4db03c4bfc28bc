"""The scenarios that come with abuse-guard: `use: NAME`. docs/abuse.md says what each is for.

`relief` is what keeps a house with 2,000 people behind one address unharmed: their well-answered requests take out
what their mistakes put in. An attacker would have to do many times more good than harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LOGIN = ("/login", "/signin", "/sign-in", "/oauth/token", "/auth/token", "/session")
_PEOPLE = ("/users/", "/members/", "/accounts/", "/profiles/")
_WORTH = ("/coupon", "/order", "/checkout", "/gift", "/voucher")

BAD_AGENTS = (
    "sqlmap", "nikto", "nmap", "masscan", "zgrab", "nuclei", "dirbuster", "gobuster", "feroxbuster", "wpscan",
    "acunetix", "nessus", "openvas", "havij", "jorgee", "wfuzz", "ffuf", "hydra", "whatweb", "arachni",
)  # fmt: skip
"""Parts of the User-Agents of tools that look for holes: nobody orders dinner with them."""

SCENARIOS: Mapping[str, Mapping[str, Any]] = {
    # many failed logins from one address
    "credential-stuffing": {
        "path_parts": _LOGIN, "statuses": ("401", "403", "422"), "group_by": ("ip",),
        "capacity": 20, "leak": 0.2, "relief": 0.25, "then": ("block", "notify"), "ttl": 900,
    },
    # looking for paths that are there
    "path-scan": {
        "statuses": ("400", "403", "404", "405"), "group_by": ("ip",), "distinct": "path",
        "capacity": 25, "leak": 0.25, "relief": 0.1, "then": ("block", "notify"), "ttl": 600,
    },
    # one token in use from many networks
    "token-sharing": {
        "group_by": ("token",), "distinct": "network",
        "capacity": 6, "leak": 0.002, "then": ("block", "notify"), "ttl": 3600,
    },
    # asking for one name after the other
    "user-enumeration": {
        "path_parts": _PEOPLE, "statuses": ("401", "403", "404"), "group_by": ("ip",), "distinct": "path",
        "capacity": 15, "leak": 0.1, "relief": 0.1, "then": ("block", "notify"), "ttl": 900,
    },
    # one user who redeems and orders faster than a hand can
    "coupon-hammering": {
        "path_parts": _WORTH, "methods": ("POST", "PUT"), "group_by": ("user",),
        "capacity": 20, "leak": 0.5, "then": ("limit", "mark", "notify"), "ttl": 600, "score": 70,
    },
    # errors from all over one /24 (or /56): each address alone stays below. Not 409 and 410: at a coupon rush most
    # of a house are told that all are gone
    "network-burst": {
        "statuses": ("400", "401", "403", "404", "405", "406", "413", "414", "415", "422", "429", "431"),
        "group_by": ("network",),
        "capacity": 100, "leak": 2.0, "relief": 0.1, "then": ("block", "notify"), "ttl": 600,
    },
    # tools that look for holes, by their own word
    "bad-bots": {
        "agents": BAD_AGENTS, "group_by": ("ip",),
        "capacity": 3, "leak": 0.02, "then": ("block", "notify"), "ttl": 3600,
    },
    # one client whose requests break the service; never a block: with the service down all clients look so
    "error-storm": {
        "statuses": ("5xx",), "group_by": ("ip",),
        "capacity": 40, "leak": 0.5, "relief": 0.5, "then": ("mark", "notify"), "ttl": 300, "score": 40,
    },
}  # fmt: skip
"""By name; the fields are those of `scenarios` (scenario_config.py)."""
