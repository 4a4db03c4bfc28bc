"""What the server's config says of trust: issuers, and the keys that passports are signed with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kong_plugins.identity.enrichment import Enricher
from kong_plugins.identity.issuers import parse_issuers
from kong_plugins.identity.keyring import Keyring, parse_keyring
from kong_plugins.identity.keys import LiveKeys
from kong_plugins.identity.ring import Ring
from kong_plugins.identity.ring_config import Rings, parse_ring
from kong_plugins.identity.ring_watch import RingWatch, publish
from kong_plugins.identity.trust import PASSPORT_ISSUER, Trust

PUBLIC_KEYS = "passport-jwks.json"


def build_trust(
    config: Mapping[str, Any], base_dir: Path, state_dir: Path, inline_issuers: bool = False
) -> Trust:
    """Build from the server's config: `issuers`, a list, and `passport: {issuer: kgate, key: {...}}`, or `keyring`.

    Paths in the config are relative to base_dir. state_dir keeps fetched keys, the passport key where none is
    configured, and `passport-jwks.json`, the public keys for the front servers. inline_issuers: see
    Trust. Raises ValueError naming the field.
    """
    issuers = parse_issuers(config.get("issuers") or [], base_dir)
    passport = config.get("passport") or {}
    if not isinstance(passport, Mapping):
        raise ValueError("passport: expected a map")
    for field in passport:
        if field not in ("issuer", "key", "keyring"):
            raise ValueError(f"passport: {field}: unknown field")
    name = passport.get("issuer", PASSPORT_ISSUER)
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ValueError("passport.issuer: expected a non-empty text")
    for issuer in issuers.values():
        if issuer.iss == name:
            raise ValueError(f"issuer {issuer.name}: iss: is the gateway's own, see passport.issuer")
    if "key" in passport and "keyring" in passport:
        raise ValueError("passport.key: give it or keyring, not both")
    made = {"alg": "EdDSA", "file": str(state_dir.absolute() / "passport-key.pem"), "generate": True}
    cache_dir = state_dir / "jwks"
    rings: Rings | None = None
    keyring: Keyring | Ring
    try:
        cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if "keyring" in passport:
            rings = parse_ring(passport["keyring"], base_dir)
            keyring = rings.ring
        else:
            keyring = parse_keyring(passport.get("key") or made, base_dir)
            publish(state_dir / PUBLIC_KEYS, keyring.public_jwks())
    except OSError as error:
        raise ValueError(f"cannot write to {state_dir}: {error.strerror}") from error
    keys = LiveKeys(issuers, cache_dir=cache_dir)
    enrichers = {each.iss: Enricher(each.name, each.enrich) for each in issuers.values() if each.enrich}
    watch = None if rings is None else RingWatch(rings.ring, rings.files, state_dir / PUBLIC_KEYS)
    return Trust(
        issuers, keys, keyring, name, inline_issuers=inline_issuers, watch=watch, enrichers=enrichers
    )
