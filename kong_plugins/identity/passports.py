"""Issue passports: short-lived signed statements of the gateway on who the user is.

A compact JWS with a type of its own, so that no client token can pass for one and no passport for a client token
(RFC 8725, section 3.12). The client's token is never in it. docs/passport.md is the format.

    kgate      typ kgate-passport+jwt: iss, aud, iat, exp, txn, sub, sub_iss, scope, ip, device, canary, authn_level,
               and what the config maps
    txn-token  typ txntoken+jwt, of the OAuth Transaction Tokens draft: iat, aud, exp, txn, sub, scope, req_wl, iss,
               sub_iss; rctx (the request: req_ip, device, authn_level), tctx (canary, and what the config maps)

`txn` is the request that the passport was made for. A passport that is reused keeps it; the request's own id
travels in Kong's header X-Kong-Request-Id.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.cache import BoundedCache
from kong_plugins.identity.signing import Keyring, b64url

TYPE = "kgate-passport+jwt"
TXN_TYPE = "txntoken+jwt"
MAX_PASSPORT = 1536
"""Characters; header buffers between here and the service are 4-8 KB for all headers together."""
MIN_LEFT = 5
"""Seconds of life that a reused passport must still have when it is handed out."""
CACHED = 10_000

ANONYMOUS = "anonymous"
"""`sub` and `authn_level` of a passport without a user; its `sub_iss` is the gateway, which no client token has."""


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
    @property
    def txn_token(self) -> bool: ...


class Signer(Protocol):
    """The keys. `version` changes when a key may have been taken away."""

    @property
    def version(self) -> int: ...

    def current(self, now: float) -> Keyring:
        """The key that signs at `now`. Raises NoSigningKey."""
        ...


_Kept = tuple[float, float, Identity | None, str]
"""Since and until when it is handed out, for whom, and the passport."""


def _is_fresh(_issuer: str) -> bool:
    return False


class PassportOffice:
    """Issues passports with one keyring, in the name `issuer`.

    One passport serves all requests of the same token, address, device, arm and rule for `reuse_for` seconds:
    a signature costs more than all else that passport does.
    """

    def __init__(self, signer: Signer, issuer: str, cached: int = CACHED) -> None:
        self._signer = signer
        self._issuer = issuer
        self._cached = cached
        self._headers: dict[tuple[str, bool], str] = {}
        self._version = signer.version
        self._issued: dict[str, int] = {}
        self._cache: BoundedCache[tuple[Any, ...], _Kept] = BoundedCache(cached)

    def issue(
        self,
        identity: Identity | None,
        facts: Facts,
        rule: PassportRule,
        now: float,
        device: str = "",
        is_stale: Callable[[str], bool] = _is_fresh,
    ) -> str:
        """A passport for this user (None: nobody) and request. now is Unix time in seconds; is_stale: whether the
        keys of an `iss` are older than they should be.

        Raises NoSigningKey, and PassportTooLarge, a ValueError that names the claim.
        """
        if self._signer.version != self._version:
            # a key may have been revoked: nothing that it signed is handed out any more
            self._cache = BoundedCache(self._cached)
            self._version = self._signer.version  # after it: a deadline may end this in between
        key = _key_of(identity, facts, rule, device)
        kept = self._cache.get(key)
        if kept is not None:
            since, until, owner, passport = kept
            # what is known of the user may have become more
            if since <= now < until and (owner is identity or owner == identity):
                return passport
        stale = identity is not None and is_stale(identity.issuer)
        passport = self._make(identity, facts, rule, now, device, stale)
        reuse = min(rule.reuse_for, rule.ttl - MIN_LEFT)
        if reuse > 0:
            self._cache.put(key, (now, now + reuse, identity, passport))
        return passport

    def handed_out_until(
        self, identity: Identity, facts: Facts, rule: PassportRule, now: float, device: str
    ) -> float:
        """Until when `issue` gives the passport that it would give at `now`; `now` where it would make one."""
        if self._signer.version != self._version:
            return now
        kept = self._cache.get(_key_of(identity, facts, rule, device))
        if kept is None or not kept[0] <= now < kept[1] or kept[2] != identity:
            return now
        return kept[1]

    def take_counts(self) -> dict[str, int]:
        """Passports made since the last call, by authn_level; reused ones do not count."""
        found, self._issued = self._issued, {}
        return found

    def _make(
        self,
        identity: Identity | None,
        facts: Facts,
        rule: PassportRule,
        now: float,
        device: str,
        stale: bool,
    ) -> str:
        known = {} if identity is None else identity.claims
        mapped = {target: known[source] for target, source in rule.claims if source in known}
        if identity is None:
            level, subject, sub_iss, scope = ANONYMOUS, ANONYMOUS, self._issuer, ""
        else:
            level, subject, sub_iss, scope = identity.level, identity.subject, identity.issuer, identity.scope
        if stale and level == "full":
            level = "stale"
        build = self._txn_token if rule.txn_token else self._plain
        claims = build(facts, rule, int(now), mapped, device, level)
        self._issued[level] = self._issued.get(level, 0) + 1
        claims["sub"], claims["sub_iss"] = subject, sub_iss
        if scope:
            claims["scope"] = scope
        signing = self._signer.current(now)
        message = f"{self._header(signing, rule.txn_token)}.{b64url(_json(claims))}"
        passport = f"{message}.{b64url(signing.sign(message.encode()))}"
        if len(passport) > MAX_PASSPORT:
            raise PassportTooLarge(_largest(claims, mapped), len(passport))
        return passport

    def _header(self, signing: Keyring, txn_token: bool) -> str:
        header = self._headers.get((signing.kid, txn_token))
        if header is None:
            typ = TXN_TYPE if txn_token else TYPE
            header = b64url(_json({"alg": signing.alg, "kid": signing.kid, "typ": typ}))
            self._headers = {**dict(list(self._headers.items())[-8:]), (signing.kid, txn_token): header}
        return header

    def _base(self, facts: Facts, rule: PassportRule, issued: int) -> dict[str, Any]:
        return {
            "iss": self._issuer,
            "aud": rule.audience,
            "iat": issued,
            "exp": issued + rule.ttl,
            "txn": facts.request_id,
        }

    def _plain(
        self,
        facts: Facts,
        rule: PassportRule,
        issued: int,
        mapped: dict[str, Any],
        device: str,
        level: str,
    ) -> dict[str, Any]:
        claims = {**mapped, **self._base(facts, rule, issued), "ip": facts.ip, "authn_level": level}
        if device:
            claims["device"] = device
        if facts.arm:
            claims["canary"] = facts.arm
        return claims

    def _txn_token(
        self,
        facts: Facts,
        rule: PassportRule,
        issued: int,
        mapped: dict[str, Any],
        device: str,
        level: str,
    ) -> dict[str, Any]:
        rctx = {"req_ip": facts.ip, "authn_level": level}
        if device:
            rctx["device"] = device
        tctx = {**mapped, "canary": facts.arm} if facts.arm else mapped
        claims = {**self._base(facts, rule, issued), "scope": "", "req_wl": self._issuer, "rctx": rctx}
        if tctx:
            claims["tctx"] = tctx
        return claims


def _key_of(identity: Identity | None, facts: Facts, rule: PassportRule, device: str) -> tuple[Any, ...]:
    if identity is None:
        return (facts.ip, device, facts.arm, rule.cache_key)
    return (
        identity.token or (identity.issuer, identity.subject),
        facts.ip,
        device,
        facts.arm,
        rule.cache_key,
    )


def _largest(claims: dict[str, Any], mapped: dict[str, Any]) -> str:
    """The claim to look at; of those that the config maps, where these are inside of another."""
    every = {name: value for name, value in claims.items() if name != "tctx"} | mapped
    return max(every, key=lambda name: len(_json(every[name])))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
