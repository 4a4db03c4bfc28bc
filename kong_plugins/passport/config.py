"""Passport's config, as it stands in Kong.

issuers        names of trust anchors of the plugin server; required but for mode jwks
mode           required | optional | forbidden; jwks: the route answers GET and HEAD with the gateway's public
               keys (default required)
anonymous      none | passport: what a request without a token gets with mode optional (none)
token_from     where the token may be: authorization, header:NAME, cookie:NAME (authorization)
profile        kgate | txn-token, the profile of the OAuth Transaction Tokens draft (kgate)
header         header of the passport (X-Passport, with txn-token Txn-Token)
audience       of the passport, the trust domain (kgate)
ttl            of the passport in seconds (60)
reuse_for      seconds in which one passport serves several requests of the same token, address, device and
               canary arm (10; with txn-token 0: one per request)
claims         passport claim -> token claim
device         what names the device: header:NAME, cookie:NAME, claim:NAME (nothing). The first two are what
               the client says
forward_token  whether the service still gets the token (true)
fail           closed | open (closed)
inline_issuers JSON text, refused by a server without --allow-inline-issuers

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

MODES = ("required", "optional", "forbidden", "jwks")
PROFILES = {"kgate": "X-Passport", "txn-token": "Txn-Token"}
"""And the header of each."""
RESERVED_CLAIMS = frozenset(
    {
        *("iss", "aud", "iat", "exp", "nbf", "jti", "txn", "sub", "sub_iss", "scope", "ip", "authn_level"),
        *("device", "canary", "req_wl", "rctx", "tctx", "cnf", "act"),
    }
)
"""Claims that the gateway itself sets in a passport; a mapping must not name them."""

MIN_TTL, MAX_TTL = 5, 3600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLAIM = re.compile(r"[!-~]{1,128}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_NOT_OURS = frozenset(
    {
        *("authorization", "cookie", "host", "connection", "content-length", "transfer-encoding", "te"),
        *("upgrade", "trailer", "keep-alive", "proxy-authorization", "forwarded", "expect"),
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-kong-request-id"),
    }
)
"""Headers that a passport must not stand in."""
_MOST_PLACES = 4

SCHEMA: list[dict[str, Any]] = [
    {"fail": {"type": "string", "one_of": ["closed", "open"], "default": "closed", "required": True}},
    {"issuers": {"type": "array", "elements": {"type": "string"}, "len_min": 1}},
    {"mode": {"type": "string", "one_of": list(MODES), "default": "required", "required": True}},
    {"anonymous": {"type": "string", "one_of": ["none", "passport"], "default": "none", "required": True}},
    {
        "token_from": {
            "type": "array",
            "elements": {"type": "string"},
            "default": ["authorization"],
            "required": True,
            "len_min": 1,
        }
    },
    {"profile": {"type": "string", "one_of": list(PROFILES), "default": "kgate", "required": True}},
    {"header": {"type": "string", "len_min": 1}},
    {"audience": {"type": "string", "default": "kgate", "required": True}},
    {"ttl": {"type": "integer", "default": 60, "between": [MIN_TTL, MAX_TTL], "required": True}},
    {"reuse_for": {"type": "integer", "between": [0, MAX_TTL]}},
    {"claims": {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}},
    {"device": {"type": "string", "len_min": 1}},
    {"forward_token": {"type": "boolean", "default": True, "required": True}},
    {"inline_issuers": {"type": "string", "len_min": 1}},
]


@dataclass(frozen=True, slots=True)
class PassportConfig:
    """One parsed config. ttl and reuse_for are seconds; claims are (passport claim, token claim) pairs.

    places: (kind, name) of where the token may be, header names in lower case; authorization_alone: the usual one.
    device_place: the same of the device, or None. cache_key tells two configs apart whose passports differ.
    """

    issuers: tuple[str, ...]
    mode: str = "required"
    anonymous: str = "none"
    token_from: tuple[str, ...] = ("authorization",)
    profile: str = "kgate"
    header: str = "X-Passport"
    audience: str = "kgate"
    ttl: int = 60
    reuse_for: int = 10
    claims: tuple[tuple[str, str], ...] = ()
    device: str = ""
    forward_token: bool = True
    fail: str = "closed"
    cache_key: str = ""
    inline_issuers: str = ""
    places: tuple[tuple[str, str], ...] = (("authorization", "authorization"),)
    authorization_alone: bool = True
    device_place: tuple[str, str] | None = None
    txn_token: bool = False
    anonymous_passport: bool = False


def parse(raw: Mapping[str, Any]) -> PassportConfig:
    """Build the config from Kong's record. Kong sends null for absent and may send {} for an empty list.

    Raises ValueError naming the field.
    """
    known = {next(iter(field)) for field in SCHEMA}
    for name in raw:
        if name not in known:
            raise ValueError(f"{name}: unknown field")
    values = {name: value for name, value in raw.items() if value is not None}
    mode = _one_of("mode", values.get("mode", "required"), MODES)
    issuers = () if mode == "jwks" and not values.get("issuers") else _issuers(values.get("issuers"))
    audience = values.get("audience", "kgate")
    if not isinstance(audience, str) or not audience or not audience.isprintable():
        raise ValueError("audience: expected a non-empty text")
    profile = _one_of("profile", values.get("profile", "kgate"), tuple(PROFILES))
    ttl = _integer("ttl", values.get("ttl", 60), MIN_TTL, MAX_TTL)
    # the default must not clash with a short ttl that was set alone
    usual = 0 if profile == "txn-token" else min(10, ttl)
    reuse_for = _integer("reuse_for", values.get("reuse_for", usual), 0, ttl)
    claims = _claims(values.get("claims", {}))
    forward_token = values.get("forward_token", True)
    if not isinstance(forward_token, bool):
        raise ValueError("forward_token: expected true or false")
    inline_issuers = values.get("inline_issuers", "")
    if not isinstance(inline_issuers, str):
        raise ValueError("inline_issuers: expected a list of issuers as JSON text")
    anonymous = _one_of("anonymous", values.get("anonymous", "none"), ("none", "passport"))
    if anonymous == "passport" and mode != "optional":
        raise ValueError("anonymous: passport goes with mode optional")
    token_from = _token_from(values.get("token_from", ["authorization"]))
    places = tuple(_place("token_from", text, ("header", "cookie")) for text in token_from)
    device = values.get("device", "")
    device_place = _place("device", device, ("header", "cookie", "claim")) if device != "" else None
    return PassportConfig(
        issuers=issuers,
        mode=mode,
        anonymous=anonymous,
        token_from=token_from,
        profile=profile,
        header=_header(values.get("header", PROFILES[profile]), places),
        audience=audience,
        ttl=ttl,
        reuse_for=reuse_for,
        claims=claims,
        device=device,
        forward_token=forward_token,
        fail=_one_of("fail", values.get("fail", "closed"), ("closed", "open")),
        cache_key=json.dumps([profile, audience, ttl, reuse_for, claims]),
        inline_issuers=inline_issuers,
        places=places,
        authorization_alone=token_from == ("authorization",),
        device_place=device_place,
        txn_token=profile == "txn-token",
        anonymous_passport=anonymous == "passport",
    )


def header_names(config: PassportConfig) -> tuple[tuple[str, ...], str]:
    """Request headers that the config reads, in lower case, and the one that it sets."""
    kinds = (*config.places, *([config.device_place] if config.device_place else []))
    names = {"cookie" if kind == "cookie" else name for kind, name in kinds if kind != "claim"}
    return tuple(sorted(names)), config.header


def _header(value: Any, places: tuple[tuple[str, str], ...]) -> str:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise ValueError("header: expected the name of a header, of letters, digits and dashes")
    if value.lower() in _NOT_OURS:
        raise ValueError(f"header: {value} has another meaning")
    if ("header", value.lower()) in places:
        raise ValueError(f"header: {value} is one that the client's token may be in")
    return value


def _token_from(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_PLACES:
        raise ValueError(
            f"token_from: expected 1 to {_MOST_PLACES} of authorization, header:NAME, cookie:NAME"
        )
    if not all(isinstance(text, str) for text in value):
        raise ValueError("token_from: expected a list of texts")
    if len({text.lower() if text.startswith("header:") else text for text in value}) != len(value):
        raise ValueError("token_from: a place is there twice")
    return tuple(value)


def _place(field: str, text: Any, kinds: tuple[str, ...]) -> tuple[str, str]:
    if field == "token_from" and text == "authorization":
        return "authorization", "authorization"
    kind, separator, name = text.partition(":") if isinstance(text, str) else ("", "", "")
    form = {"header": _HEADER, "cookie": _COOKIE, "claim": _CLAIM}.get(kind)
    if not separator or kind not in kinds or form is None or not form.fullmatch(name):
        raise ValueError(f"{field}: {text!r} is none of {', '.join(f'{each}:NAME' for each in kinds)}")
    if kind != "header":
        return kind, name
    if name.lower() in _NOT_OURS:
        raise ValueError(f"{field}: header {name} has another meaning")
    return kind, name.lower()


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
