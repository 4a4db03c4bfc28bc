"""Passport's config, as it stands in Kong.

Fields (default): `issuers` names of trust anchors of the plugin server (required), `mode` required |
optional | forbidden (required), `audience` of the passport (kgate), `ttl` of the passport in seconds (60),
`reuse_for` seconds in which one passport serves several requests of the same user and address (10),
`claims` passport claim -> token claim, `forward_token` whether the service still gets Authorization (true),
`fail` closed | open (closed), `inline_issuers` JSON text, refused by a server without --allow-inline-issuers.

    passport: {issuers: [main], claims: {tier: customer_tier}}         good
    passport: {issuers: [main], claims: {sub: email}}                  refused: `sub` is the gateway's own

There are no keys here: whoever may write to Kong must not be able to bring an own trust anchor. `inline_issuers`
(a list as in server.yaml, with `jwks`) is for tests and laptops; `issuers` names them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODES = ("required", "optional", "forbidden")
RESERVED_CLAIMS = frozenset(
    {"iss", "aud", "iat", "exp", "nbf", "jti", "txn", "sub", "sub_iss", "scope", "ip", "authn_level"}
)
"""Claims that the gateway itself sets in a passport; a mapping must not name them."""

MIN_TTL, MAX_TTL = 5, 3600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLAIM = re.compile(r"[!-~]{1,128}")

SCHEMA: list[dict[str, Any]] = [
    {"fail": {"type": "string", "one_of": ["closed", "open"], "default": "closed", "required": True}},
    {"issuers": {"type": "array", "elements": {"type": "string"}, "required": True, "len_min": 1}},
    {"mode": {"type": "string", "one_of": list(MODES), "default": "required", "required": True}},
    {"audience": {"type": "string", "default": "kgate", "required": True}},
    {"ttl": {"type": "integer", "default": 60, "between": [MIN_TTL, MAX_TTL], "required": True}},
    {"reuse_for": {"type": "integer", "default": 10, "between": [0, MAX_TTL], "required": True}},
    {"claims": {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}},
    {"forward_token": {"type": "boolean", "default": True, "required": True}},
    {"inline_issuers": {"type": "string", "len_min": 1}},
]


@dataclass(frozen=True, slots=True)
class PassportConfig:
    """One parsed config. ttl and reuse_for are seconds; claims are (passport claim, token claim) pairs.

    cache_key tells two configs apart whose passports differ.
    """

    issuers: tuple[str, ...]
    mode: str = "required"
    audience: str = "kgate"
    ttl: int = 60
    reuse_for: int = 10
    claims: tuple[tuple[str, str], ...] = ()
    forward_token: bool = True
    fail: str = "closed"
    cache_key: str = ""
    inline_issuers: str = ""


def parse(raw: Mapping[str, Any]) -> PassportConfig:
    """Build the config from Kong's record. Kong sends null for absent and may send {} for an empty list.

    Raises ValueError naming the field.
    """
    known = {next(iter(field)) for field in SCHEMA}
    for name in raw:
        if name not in known:
            raise ValueError(f"{name}: unknown field")
    values = {name: value for name, value in raw.items() if value is not None}
    issuers = _issuers(values.get("issuers"))
    audience = values.get("audience", "kgate")
    if not isinstance(audience, str) or not audience or not audience.isprintable():
        raise ValueError("audience: expected a non-empty text")
    ttl = _integer("ttl", values.get("ttl", 60), MIN_TTL, MAX_TTL)
    # the default must not clash with a short ttl that was set alone
    reuse_for = _integer("reuse_for", values.get("reuse_for", min(10, ttl)), 0, ttl)
    claims = _claims(values.get("claims", {}))
    forward_token = values.get("forward_token", True)
    if not isinstance(forward_token, bool):
        raise ValueError("forward_token: expected true or false")
    inline_issuers = values.get("inline_issuers", "")
    if not isinstance(inline_issuers, str):
        raise ValueError("inline_issuers: expected a list of issuers as JSON text")
    return PassportConfig(
        issuers=issuers,
        mode=_one_of("mode", values.get("mode", "required"), MODES),
        audience=audience,
        ttl=ttl,
        reuse_for=reuse_for,
        claims=claims,
        forward_token=forward_token,
        fail=_one_of("fail", values.get("fail", "closed"), ("closed", "open")),
        cache_key=json.dumps([audience, ttl, reuse_for, claims]),
        inline_issuers=inline_issuers,
    )


def _issuers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("issuers: expected a list with at least one issuer's name")
    for name in value:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"issuers: {name!r} is not the name of an issuer")
    if len(set(value)) != len(value):
        raise ValueError("issuers: a name is there twice")
    return tuple(value)


def _one_of(field: str, value: Any, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{field}: expected one of {', '.join(allowed)}")
    return value


def _integer(field: str, value: Any, low: int, high: int) -> int:
    # Kong's numbers may come as doubles
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{field}: expected an integer between {low} and {high}")
    return value


def _claims(value: Any) -> tuple[tuple[str, str], ...]:
    if value == []:  # an empty Lua table has no type of its own
        return ()
    if not isinstance(value, Mapping):
        raise ValueError("claims: expected a map of passport claim to token claim")
    for target, source in value.items():
        if not isinstance(target, str) or not _CLAIM.fullmatch(target):
            raise ValueError(f"claims: {target!r} is not a claim name")
        if not isinstance(source, str) or not _CLAIM.fullmatch(source):
            raise ValueError(f"claims.{target}: expected the name of a token claim")
        if target in RESERVED_CLAIMS:
            raise ValueError(f"claims.{target}: is set by the gateway itself")
    return tuple(sorted(value.items()))
