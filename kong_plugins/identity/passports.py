"""Issue passports: short-lived signed statements of the gateway on who the user is.

A compact JWS, `typ: kgate-passport+jwt`, so that no client token can pass for one and no passport for a
client token (RFC 8725, section 3.12). Claims: iss, aud, iat, exp, txn (the request that it was made for), sub
and sub_iss (the user and the user's issuer), scope, ip, authn_level, and what the config maps. The
client's token is never in it.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.cache import BoundedCache
from kong_plugins.identity.keyring import Keyring, b64url

TYPE = "kgate-passport+jwt"
MAX_PASSPORT = 1536
"""Characters; header buffers between here and the service are 4-8 KB for all headers together."""
MIN_LEFT = 5
"""Seconds of life that a reused passport must still have when it is handed out."""
CACHED = 10_000


class PassportTooLarge(ValueError):
    """The passport would be longer than MAX_PASSPORT. `claim` names the largest of its claims."""

    def __init__(self, claim: str, size: int) -> None:
        super().__init__(f"{claim}: makes the passport {size} characters, {MAX_PASSPORT} are allowed")
        self.claim = claim


class PassportRule(Protocol):
    """What a route's config says of its passports; ttl and reuse_for are seconds, claims are
    (passport claim, token claim) pairs, cache_key differs where passports do."""

    @property
    def audience(self) -> str: ...
    @property
    def ttl(self) -> int: ...
    @property
    def reuse_for(self) -> int: ...
    @property
    def claims(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def cache_key(self) -> str: ...


class PassportOffice:
    """Issues passports with one keyring, in the name `issuer`.

    One passport serves all requests of the same user, token, address and rule for `reuse_for` seconds:
    a signature costs more than all else that passport does.
    """

    def __init__(self, keyring: Keyring, issuer: str, cached: int = CACHED) -> None:
        self._keyring = keyring
        self._issuer = issuer
        self._header = b64url(_json({"alg": keyring.alg, "kid": keyring.kid, "typ": TYPE}))
        self._cache: BoundedCache[tuple[str, ...], tuple[float, Identity, str]] = BoundedCache(cached)

    def issue(self, identity: Identity, facts: Facts, rule: PassportRule, now: float) -> str:
        """A passport for this user and request. now is Unix time in seconds.

        Raises PassportTooLarge, a ValueError that names the claim.
        """
        key = (identity.issuer, identity.subject, identity.token_id, facts.ip, rule.cache_key)
        kept = self._cache.get(key)
        if kept is not None:
            made, owner, passport = kept
            fresh = 0 <= now - made < min(rule.reuse_for, rule.ttl - MIN_LEFT)
            # the user may hold two tokens without `jti` that say different things
            if fresh and (owner is identity or owner == identity):
                return passport
        passport = self._make(identity, facts, rule, now)
        self._cache.put(key, (now, identity, passport))
        return passport

    def _make(self, identity: Identity, facts: Facts, rule: PassportRule, now: float) -> str:
        issued = int(now)
        claims: dict[str, Any] = {
            target: identity.claims[source] for target, source in rule.claims if source in identity.claims
        }
        claims |= {
            "iss": self._issuer,
            "aud": rule.audience,
            "iat": issued,
            "exp": issued + rule.ttl,
            "txn": facts.request_id,
            "sub": identity.subject,
            "sub_iss": identity.issuer,
            "ip": facts.ip,
            "authn_level": "full",
        }
        if identity.scope:
            claims["scope"] = identity.scope
        message = f"{self._header}.{b64url(_json(claims))}"
        passport = f"{message}.{b64url(self._keyring.sign(message.encode()))}"
        if len(passport) > MAX_PASSPORT:
            raise PassportTooLarge(max(claims, key=lambda name: len(_json(claims[name]))), len(passport))
        return passport


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
