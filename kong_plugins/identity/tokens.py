"""Verify a client's token: a JWT in compact serialisation (RFC 7519, RFC 7515), by the rules of RFC 8725.

    token text -> header -> issuer (by `iss`) -> key (by `kid` and `alg`) -> signature -> claims

What the token says of itself is untrusted until the signature holds: `iss` and `kid` only choose among what
the config allows, and a header that brings or points to keys (jku, x5u, jwk, x5c) is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from kong_plugins.engine.facts import Identity
from kong_plugins.identity import strict_json
from kong_plugins.identity.issuers import Issuer
from kong_plugins.identity.jwks import NAMES, KeySet

MAX_TOKEN = 8192
MAX_SUBJECT = 255
"""OpenID Connect Core, section 2 limits `sub` to this."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_ENCRYPTED = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}")
"""JWE in compact serialisation (RFC 7516, section 7.1): five parts."""
_REFUSED_HEADERS = ("jku", "x5u", "jwk", "x5c", "crit", "b64", "enc", "zip")
_MAX_DATE = 2**53
"""Beyond this a JSON number is no exact integer to everybody (RFC 8259, section 6)."""


class TokenError(Exception):
    """The token is refused. `reason` is a stable id, `detail` one sentence that holds nothing of the
    token. `issuer` and `kid` are set with the reason unknown_key."""

    def __init__(self, reason: str, detail: str, issuer: str = "", kid: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.issuer = issuer
        self.kid = kid

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Verified(NamedTuple):
    """A verified token: who it is, and from when until when (Unix seconds) a check of it gives the
    same answer. `until` takes no leeway, so a cache never goes past `exp`."""

    identity: Identity
    since: float
    until: float


def verify_token(
    token: str, issuers: Mapping[str, Issuer], keys: Mapping[str, KeySet], now: float
) -> Identity:
    """Check a token against the issuers that a route allows, all by their config name.

    now is Unix time in seconds. Raises TokenError, and nothing else, for any text.
    """
    return check_token(token, issuers, keys, now).identity


def check_token(
    token: str, issuers: Mapping[str, Issuer], keys: Mapping[str, KeySet], now: float
) -> Verified:
    """As verify_token, with the time in which the answer may be kept."""
    if not isinstance(token, str) or not token:
        raise TokenError("token_missing", "There is no token.")
    if len(token) > MAX_TOKEN:
        raise TokenError("token_too_large", f"The token is longer than {MAX_TOKEN} characters.")
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        if _ENCRYPTED.fullmatch(token):
            raise TokenError("token_encrypted", "The token is encrypted; signed ones alone are taken.")
        raise _malformed("The token is not a signed JWT in compact form.")
    header = _object(parts[1], "header")
    alg, kid = _check_header(header)
    claims = _object(parts[2], "payload")
    issuer = _find_issuer(claims, issuers)
    if alg not in issuer.algorithms:
        raise TokenError("algorithm_not_allowed", "The issuer's tokens must not use this algorithm.")
    if "typ" not in header:
        if issuer.require_type:
            raise TokenError("token_type_not_allowed", "The token does not name its type.")
    elif header["typ"].lower().removeprefix("application/") not in issuer.types:
        raise TokenError("token_type_not_allowed", "The token's type is not that of an access token.")
    _check_signature(token, parts, keys.get(issuer.name), issuer, alg, kid)
    return _check_claims(claims, issuer, now)


def _malformed(detail: str) -> TokenError:
    return TokenError("token_malformed", detail)


def _decode(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (binascii.Error, ValueError):
        raise _malformed("A part of the token is not base64url.") from None
    # spare bits that are not zero: a second spelling of the same token
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise _malformed("A part of the token is not base64url.")
    return raw


def _object(part: str, name: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(_decode(part))
    except ValueError:
        raise _malformed(f"The token's {name} is not plain JSON.") from None
    if not isinstance(value, dict):
        raise _malformed(f"The token's {name} is not a JSON object.")
    return value


def _check_header(header: dict[str, Any]) -> tuple[str, str | None]:
    alg = header.get("alg")
    if not isinstance(alg, str) or alg not in NAMES:
        raise TokenError("algorithm_not_allowed", "The token is not signed with a supported algorithm.")
    for name in _REFUSED_HEADERS:
        if name in header:
            raise TokenError("header_not_allowed", f"The token's header must not hold {name}.")
    kid = header.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise _malformed("The token's kid is not text.")
    if not isinstance(header.get("typ", ""), str):
        raise _malformed("The token's typ is not text.")
    content = header.get("cty", "")
    if not isinstance(content, str) or content.lower().removeprefix("application/") == "jwt":
        raise TokenError("token_nested", "The token holds another token.")
    return alg, kid


def _find_issuer(claims: dict[str, Any], issuers: Mapping[str, Issuer]) -> Issuer:
    iss = claims.get("iss")
    if iss is None:
        raise TokenError("claim_missing", "The token has no iss.")
    for issuer in issuers.values():
        if issuer.iss == iss:
            return issuer
    raise TokenError("unknown_issuer", "The token's issuer is not accepted here.")


def _check_signature(
    token: str, parts: re.Match[str], known: KeySet | None, issuer: Issuer, alg: str, kid: str | None
) -> None:
    if not known:
        raise TokenError("keys_unavailable", "The issuer's keys are not there yet.", issuer.name)
    candidates = known.find(kid, NAMES[alg])
    if not candidates:
        detail = "The token's key is not one of the issuer's."
        raise TokenError("unknown_key", detail, issuer.name, kid or "")
    signature = _decode(parts[3])
    message = token[: parts.end(2)].encode()
    if not any(key.verify(message, signature) for key in candidates):
        raise TokenError("bad_signature", "The token's signature is not right.")


def _check_claims(claims: dict[str, Any], issuer: Issuer, now: float) -> Verified:
    expires = _date(claims, "exp")
    if expires is None:
        raise TokenError("claim_missing", "The token has no exp.")
    if now >= expires + issuer.leeway:
        raise TokenError("token_expired", "The token has expired.")
    issued_at = _date(claims, "iat")
    since = max(_date(claims, "nbf") or 0.0, issued_at or 0.0) - issuer.leeway
    if now < since:
        raise TokenError("token_not_yet_valid", "The token is not valid yet.")
    until = expires
    if issuer.max_age is not None:
        if issued_at is None:
            raise TokenError("claim_missing", "The token has no iat.")
        if now >= issued_at + issuer.max_age + issuer.leeway:
            raise TokenError("token_too_old", "The token was issued too long ago.")
        until = min(until, issued_at + issuer.max_age)
    if issuer.audiences:
        _check_audience(claims.get("aud"), issuer)
    for name in issuer.required_claims:
        if claims.get(name) in (None, "", [], {}):
            raise TokenError("claim_missing", f"The token has no {name}.")
    subject = _text(claims, "sub")
    if not subject:
        raise TokenError("claim_missing", "The token has no sub.")
    if len(subject) > MAX_SUBJECT or not subject.isprintable():
        raise TokenError("claim_invalid", "The token's sub is too long or not printable.")
    identity = Identity(issuer.iss, subject, _text(claims, "jti"), _scope(claims), claims, issued_at)
    return Verified(identity, since, until)


def _date(claims: dict[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2) in seconds."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # bool is an int to Python; a NaN or an infinity fails the comparison
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_DATE:
        raise TokenError("claim_invalid", f"The token's {name} is not a time.")
    return float(value)


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str):
        raise TokenError("claim_invalid", f"The token's {name} is not text.")
    return value


def _check_audience(value: Any, issuer: Issuer) -> None:
    if value is None:
        raise TokenError("claim_missing", "The token has no aud.")
    given = value if isinstance(value, list) else [value]
    if not all(isinstance(audience, str) for audience in given):
        raise TokenError("claim_invalid", "The token's aud is not text.")
    if not any(audience in issuer.audiences for audience in given):
        raise TokenError("wrong_audience", "The token is for another audience.")


def _scope(claims: dict[str, Any]) -> str:
    """`scope` (RFC 8693, section 4.2), or `scp` where an issuer uses that; a list is joined."""
    value = claims["scope"] if "scope" in claims else claims.get("scp", "")
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise TokenError("claim_invalid", "The token's scope is not text.")
    return value
