"""Verify a passport in a front server.

    keys = PassportKeys(json.load(open("passport-jwks.json")))
    passport = verify_passport(request.headers.get("X-Passport", ""), keys, "kgate")
    passport.subject, passport.scopes, passport.claims["tier"]

The gateway removes every X-Passport that a client sends, but a front server must not rest on that: it
verifies the signature and answers 401 otherwise.
"""

from __future__ import annotations

import json
import re
import time  # noqa: TID251 - this runs in front servers; `now` can still be given
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

TYPE = "kgate-passport+jwt"
TXN_TYPE = "txntoken+jwt"
PROFILES = {"kgate": TYPE, "txn-token": TXN_TYPE}
"""The type (`typ`) of each profile of the gateway's passport plugin."""
ALGORITHMS = ("EdDSA", "ES256", "RS256", "HS256")
"""What a gateway's keyring may sign with."""
MAX_PASSPORT = 4096
MIN_SECRET = 32
MIN_RSA_BITS = 2048
ANONYMOUS = "anonymous"

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""Three parts of base64url and nothing else (RFC 7515, section 7.1)."""


class PassportError(Exception):
    """There is no valid passport. `reason` is a stable id and holds nothing of the input."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Passport:
    """A verified passport. `issuer` and `subject` name the user: who vouches for the user, and the user's id
    there. `txn` is the request that the passport was made for; expires is Unix time in seconds.

    authn_level: full; token_only or stale when the gateway could not ask for all that it wanted to know (refuse what
    is sensitive then); anonymous when there is no user. canary is NAME=ARM, device what names the user's device.
    claims: all of the passport, and for the profile txn-token those of its `tctx` too.
    """

    subject: str
    issuer: str
    scope: str
    txn: str
    ip: str
    authn_level: str
    audience: str
    expires: float
    claims: Mapping[str, Any] = field(hash=False)
    device: str = ""
    canary: str = ""

    @property
    def scopes(self) -> frozenset[str]:
        """The single scopes."""
        return frozenset(self.scope.split())

    @property
    def is_anonymous(self) -> bool:
        """Whether there is no user: the route lets requests without a token pass."""
        return self.authn_level == ANONYMOUS


class PassportKeys:
    """The gateway's public keys, from its JWKS document. Make it once, not for each request.

    Each key checks its own algorithm only. Keys for other uses are passed over; ValueError when none is left.
    """

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(listed, list):
            raise ValueError("jwks: expected an object with a list `keys`")
        self._keys: dict[str, jwt.PyJWK] = {}
        for item in listed:
            key = _key(item)
            if key is not None:
                self._keys[item["kid"]] = key
        if not self._keys:
            raise ValueError("jwks: holds no key that a passport could be signed with")

    @classmethod
    def empty(cls) -> PassportKeys:
        """No keys at all: nothing verifies."""
        made = cls.__new__(cls)
        made._keys = {}
        return made

    def find(self, kid: Any) -> jwt.PyJWK | None:
        """The key of this id."""
        return self._keys.get(kid) if isinstance(kid, str) else None

    def __repr__(self) -> str:
        return f"PassportKeys({', '.join(self._keys)})"


def _key(item: Any) -> jwt.PyJWK | None:
    if not isinstance(item, dict) or not isinstance(item.get("kid"), str) or item.get("use", "sig") != "sig":
        return None
    if "alg" in item and item["alg"] not in ALGORITHMS:
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in item.items() if name != "d"})
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if key.algorithm_name not in ALGORITHMS:
        return None
    if isinstance(key.key, bytes) and len(key.key) < MIN_SECRET:
        return None
    if key.algorithm_name == "RS256" and getattr(key.key, "key_size", 0) < MIN_RSA_BITS:
        return None
    return key


def verify_passport(
    token: str,
    jwks: Mapping[str, Any] | PassportKeys,
    audience: str,
    *,
    issuer: str = "kgate",
    leeway: float = 5,
    now: float | None = None,
    profile: str = "kgate",
) -> Passport:
    """Check signature, type, issuer, audience and time of a passport.

    audience and profile are what the route's passport config says; leeway and now are seconds. Raises PassportError
    for any token, ValueError only for a useless JWKS or an unknown profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile: expected one of {', '.join(PROFILES)}")
    keys = jwks if isinstance(jwks, PassportKeys) else PassportKeys(jwks)
    if not token:
        raise PassportError("passport_missing")
    claims = _open(token, keys, PROFILES[profile])
    now = time.time() if now is None else now
    if claims.get("iss") != issuer:
        raise PassportError("wrong_issuer")
    if claims.get("aud") != audience:
        raise PassportError("wrong_audience")
    issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
    if now >= expires + leeway:
        raise PassportError("passport_expired")
    if now < issued - leeway:
        raise PassportError("passport_not_yet_valid")
    request, context = claims, claims
    if profile == "txn-token":
        request, context = _object(claims, "rctx"), _object(claims, "tctx")
    return Passport(
        subject=_text(claims, "sub"),
        issuer=_text(claims, "sub_iss"),
        scope=_text(claims, "scope", required=False),
        txn=_text(claims, "txn"),
        ip=_text(request, "ip" if request is claims else "req_ip", required=False),
        authn_level=_text(request, "authn_level"),
        audience=audience,
        expires=expires,
        claims=claims if context is claims else {**context, **claims},
        device=_text(request, "device", required=False),
        canary=_text(context, "canary", required=False),
    )


def _open(token: str, keys: PassportKeys, typ: str) -> dict[str, Any]:
    """The claims, once the signature holds."""
    if not isinstance(token, str) or len(token) > MAX_PASSPORT or not _COMPACT.fullmatch(token):
        raise PassportError("passport_malformed")
    try:
        header = jwt.get_unverified_header(token)
        if "crit" in header or "b64" in header:  # older PyJWT passes over what it does not know
            raise PassportError("passport_malformed")
        key = keys.find(header.get("kid"))
        if key is None:
            raise PassportError("unknown_key")
        if header.get("typ") != typ:
            raise PassportError("wrong_type")
        # PyJWT also compares the header's `alg` with the key's
        payload = jwt.PyJWS().decode(token, key, algorithms=[key.algorithm_name])
        claims = json.loads(payload, object_pairs_hook=_members)
    except jwt.InvalidSignatureError:
        raise PassportError("bad_signature") from None
    except jwt.InvalidAlgorithmError:
        raise PassportError("wrong_algorithm") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise PassportError("passport_malformed") from None
    if not isinstance(claims, dict):
        raise PassportError("passport_malformed")
    return claims


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _object(claims: dict[str, Any], name: str) -> dict[str, Any]:
    value = claims.get(name, {})
    if not isinstance(value, dict):
        raise PassportError("claim_missing")
    return value


def _seconds(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2**53:
        raise PassportError("claim_missing")
    return float(value)


def _text(claims: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or (required and not value):
        raise PassportError("claim_missing")
    return value
