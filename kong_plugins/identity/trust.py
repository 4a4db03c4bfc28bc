"""Trust: what the plugin server believes and what it signs with.

Issuers, their keys and the keyring come from the server's own config, by name; Kong's config only names
them, so nobody who writes to Kong or to a socket can bring an own trust anchor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kong_plugins.engine.facts import Facts, Identity
from kong_plugins.identity.cache import BoundedCache
from kong_plugins.identity.enrichment import Enricher, TokenInactive
from kong_plugins.identity.issuers import Issuer, parse_inline
from kong_plugins.identity.keyring import Keyring
from kong_plugins.identity.keys import KeySource, StaticKeys, WithKeys
from kong_plugins.identity.passports import PassportOffice, PassportRule
from kong_plugins.identity.ring import Ring
from kong_plugins.identity.ring_watch import RingWatch
from kong_plugins.identity.tokens import MAX_TOKEN, TokenError, Verified, check_token

log = logging.getLogger("kgate.identity")

PASSPORT_ISSUER = "kgate"
KEEP_VERIFIED = 60.0
"""Seconds that a verified token is believed without another check, if its `exp` is not before."""
KEEP_REFUSED = 5.0
CACHED = 5_000
INLINE_CACHED = 100

_CacheKey = tuple[bytes, tuple[str, ...], int]


class Records(Protocol):
    """A snapshot of the control state, as the keyring needs it."""

    def records(self, collection: str) -> Mapping[str, Any]:
        """The records of a collection by key."""
        ...


class Trust:
    """Verifies clients' tokens and issues passports; both answer warm requests from bounded caches.

    For one thread; only the key source is written by others.
    """

    def __init__(
        self,
        issuers: Mapping[str, Issuer],
        keys_provider: KeySource,
        keyring: Keyring | Ring,
        passport_issuer: str = PASSPORT_ISSUER,
        cached: int = CACHED,
        inline_issuers: bool = False,
        *,
        watch: RingWatch | None = None,
        enrichers: Mapping[str, Enricher] | None = None,
    ) -> None:
        """inline_issuers: a route's config may bring issuers along (tests, laptops). watch: brings what changes in
        the keyring. enrichers: by `iss`."""
        self._issuers = dict(issuers)
        self._keys = keys_provider
        self._keyring = keyring
        self._passport_issuer = passport_issuer
        self._inline_allowed = inline_issuers
        self._inline: BoundedCache[str, tuple[Trust | None]] = BoundedCache(INLINE_CACHED)
        self._device_keys: tuple[object, tuple[bytes, ...]] = (None, ())
        self._cached = cached
        self._office = PassportOffice(keyring, passport_issuer, cached)
        self._verified: BoundedCache[_CacheKey, Verified] = BoundedCache(cached)
        self._standing: tuple[object, set[bytes]] = (None, set())
        self.handed_out: BoundedCache[tuple[str, str], Any] = BoundedCache(cached)
        """By passport and header: how often, or the verdict with it (passport/core.py)."""
        self._watch = watch
        self._enrichers = dict(enrichers or {})
        self._names = {issuer.iss: name for name, issuer in self._issuers.items()}
        # apart from the verified ones: a flood of forged tokens must not push those out
        self._refused: BoundedCache[_CacheKey, tuple[float, str, str]] = BoundedCache(cached)

    @classmethod
    def empty(cls) -> Trust:
        """A trust that knows no issuer and signs with a key of its own, for tests."""
        return cls({}, StaticKeys({}), Keyring(Ed25519PrivateKey.generate()))

    def follow(self, snapshot: Records) -> None:
        """Take what the control state says of the keyring, if that is where its keys are. Cheap when it is the
        snapshot of the last time."""
        if self._watch is not None:
            self._watch.look(snapshot)

    def has(self, issuer_name: str) -> bool:
        """Whether the server's config has an issuer of this name."""
        return issuer_name in self._issuers

    def with_inline(self, text: str) -> Trust | None:
        """This trust and the issuers of a route's own config (JSON text); None when they are not allowed or not
        usable. Says so in the log once."""
        kept = self._inline.get(text)
        if kept is None:
            kept = (self._add_inline(text),)
            self._inline.put(text, kept)
        return kept[0]

    def _add_inline(self, text: str) -> Trust | None:
        if not self._inline_allowed:
            log.error(
                "passport: inline_issuers are refused, their routes answer 503: trust anchors belong into "
                "server.yaml (for tests there is kgate serve --allow-inline-issuers)"
            )
            return None
        try:
            inline = parse_inline(text)
            for issuer in inline.values():
                own = [known for known in self._issuers.values() if issuer.iss == known.iss]
                if own or issuer.name in self._issuers or issuer.iss == self._passport_issuer:
                    raise ValueError(f"issuer {issuer.name}: the server has its own of this name or iss")
        except ValueError as error:
            log.error("passport: inline_issuers: %s: its routes answer 503", error)
            return None
        keys = WithKeys(
            self._keys, {name: each.keys for name, each in inline.items() if each.keys is not None}
        )
        return Trust(
            {**self._issuers, **inline},
            keys,
            self._keyring,
            self._passport_issuer,
            enrichers=self._enrichers,
        )

    def missing_keys(self) -> tuple[str, ...]:
        """Issuers of which no key is known: their tokens cannot be verified now."""
        sets = self._keys.snapshot().sets
        return tuple(sorted(name for name in self._issuers if name not in sets))

    def verify(self, token: str, issuer_names: tuple[str, ...], now: float) -> Identity:
        """Who the token says the client is, if one of the named issuers signed it. now is Unix time.

        Raises TokenError. Names that are not configured are passed over: ask `has` first.
        """
        generation, sets = self._keys.snapshot()
        key: _CacheKey | None = None
        digest = b""
        if token.isascii() and len(token) <= MAX_TOKEN:
            digest = blake2b(token.encode(), digest_size=32).digest()
            key = (digest, issuer_names, generation)
            kept = self._verified.get(key)
            if kept is not None and kept.since <= now < kept.until:
                return self._enriched(kept.identity, token, now) if self._enrichers else kept.identity
            refused = self._refused.get(key)
            if refused is not None and 0 <= now - refused[0] < KEEP_REFUSED:
                raise TokenError(refused[1], refused[2])
        allowed = {name: self._issuers[name] for name in issuer_names if name in self._issuers}
        try:
            found = check_token(token, allowed, sets, now)
        except TokenError as error:
            if error.reason == "unknown_key":
                self._keys.want(error.issuer, error.kid)
            if error.reason == "bad_signature" and key is not None:
                self._refused.put(key, (now, error.reason, error.detail))
            raise
        identity = found.identity._replace(token=digest)
        if key is not None:
            until = min(found.until, now + KEEP_VERIFIED)
            self._verified.put(key, Verified(identity, found.since, until))
        return self._enriched(identity, token, now) if self._enrichers else identity

    def _enriched(self, identity: Identity, token: str, now: float) -> Identity:
        enricher = self._enrichers.get(identity.issuer)
        if enricher is None:
            return identity
        try:
            return enricher.of(identity.token, token, identity, now)
        except TokenInactive:
            raise TokenError("token_inactive", "The issuer says that the token is not active.") from None

    def standing(self, revocations: object) -> set[bytes]:
        """Digests of tokens that these revocations (one value of the control state) do not refuse; the caller adds
        to them. That stays so as long as the value is the same: revocations end by themselves, and begin with a
        new value."""
        seen, standing = self._standing
        if seen is not revocations or len(standing) >= self._cached:
            standing = set()
            self._standing = revocations, standing
        return standing

    def wait_for(self, identity: Identity, now: float) -> float:
        """Seconds that the request should wait for what is asked of its user; 0 for none. now is Unix time."""
        enricher = self._enrichers.get(identity.issuer)
        return 0.0 if enricher is None else enricher.wait_for(identity.token, now)

    def on_answered(self, tell: Callable[[bytes], None]) -> None:
        """Have `tell` called, in any thread, with a token's digest when the question about it is over."""
        for enricher in self._enrichers.values():
            enricher.answered = tell

    def report(self, now: float) -> dict[str, Any]:
        """For metrics: issuers' keys, the keyring, and what was counted since the last report. now is Unix time."""
        sets = self._keys.snapshot().sets
        return {
            "issuers": {
                name: [
                    len(sets.get(name, ())),
                    int(self._keys.is_stale(name)),
                    *self._keys.fetched(name, now),
                ]
                for name in self._issuers
            },
            "enrichment": {
                each.name: [int(each.breaker.is_open), each.counts.take()]
                for each in self._enrichers.values()
            },
            "issued": self._office.take_counts(),
            "signing": self._keyring.ages(now),
        }

    def issue(
        self, identity: Identity | None, facts: Facts, config: PassportRule, now: float, device: str = ""
    ) -> str:
        """A passport for a verified user, or with None for nobody. now is Unix time in seconds.

        Raises PassportTooLarge, a ValueError naming the claim, and NoSigningKey.
        """
        return self._office.issue(identity, facts, config, now, device, self._is_stale)

    def stands_for(
        self,
        identity: Identity,
        facts: Facts,
        config: PassportRule,
        issuer_names: tuple[str, ...],
        now: float,
        device: str = "",
    ) -> float:
        """Seconds for which `verify` and `issue` go on saying what they have just said of this user's token, as long
        as `stamp` is the same; 0 where they may say something else with each request. now is Unix time in seconds."""
        if identity.level != "full" or not identity.token or identity.issuer in self._enrichers:
            return 0.0
        verified = self._verified.get((identity.token, issuer_names, self._keys.snapshot().generation))
        if verified is None or now < verified.since:
            return 0.0
        until = self._office.handed_out_until(identity, facts, config, now, device)
        return max(0.0, min(verified.until, until) - now)

    def stamp(self) -> tuple[int, int]:
        """Differs from before when a key of an issuer or of the gateway may have been taken away."""
        return self._keys.snapshot().generation, self._keyring.version

    def _is_stale(self, iss: str) -> bool:
        return self._keys.is_stale(self._names.get(iss, ""))

    def public_jwks(self, now: float = 0.0) -> dict[str, Any]:
        """The JWKS document with which front servers verify passports. now is Unix time in seconds."""
        return self._keyring.public_jwks(now)

    def device_keys(self, now: float) -> tuple[bytes, ...]:
        """The keys of signed device cookies: the first one signs, all are believed. Made of the passport keys,
        so that servers which share those share these; empty when there is none. now is Unix time in seconds."""
        keyrings = self._keyring.keyrings(now)
        if self._device_keys[0] is not keyrings:
            self._device_keys = keyrings, tuple(keyring.derived(b"device") for keyring in keyrings)
        return self._device_keys[1]

    def start(self) -> None:
        """Begin to fetch keys. After a fork, in the process that verifies."""
        self._keys.start()
        for enricher in self._enrichers.values():
            enricher.start()
        if self._watch is not None:
            self._watch.start()

    def stop(self) -> None:
        """End the fetching."""
        self._keys.stop()
        for enricher in self._enrichers.values():
            enricher.stop()
        if self._watch is not None:
            self._watch.stop()
