"""Issuers: the trust anchors of the plugin server, from its own config, never from Kong's.

    issuers:
    - name: main                        # what a route's passport names
      iss: https://auth.example.com     # the token's `iss`, compared byte by byte
      audiences: [shop]                 # one of these must be in `aud`; [] accepts any, said on purpose
      algorithms: [RS256, ES256, EdDSA] # the default; HS256, and EdDSA by its new name Ed25519, only when named
      types: [JWT, at+jwt]              # the default; what `typ` may be, in any case
      require_type: false               # whether a token without `typ` is refused
      required_claims: [email]          # beside iss, sub and exp (and aud, where audiences are named)
      leeway: 30                        # seconds of clock difference, for exp, nbf and iat
      max_age: 86400                    # oldest `iat` in seconds, optional
      jwks_url: https://auth.example.com/jwks
      refresh: 300                      # seconds between fetches of it, where it does not say so itself
      stale_if_error: 86400             # how long its keys live on when it cannot be fetched
      enrich: {url: https://auth.example.com/userinfo, claims: [grade, roles]}     # see enrich_config.py

Where the keys come from, one of: `jwks` (inline), `jwks_url`, `key_file` (PEM public key or certificate),
`secret_file` or `secret_env` (HMAC; white space around a secret in a file is dropped).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kong_plugins.identity import strict_json
from kong_plugins.identity.enrich_config import Enrich, http_url, parse_enrich
from kong_plugins.identity.files import read_file
from kong_plugins.identity.jwks import NAMES, KeySet, parse_jwks, single_key

DEFAULT_ALGORITHMS = ("RS256", "ES256", "EdDSA")
DEFAULT_TYPES = ("jwt", "at+jwt")
"""Token types (`typ`) of access tokens; logout tokens and our own passports are none of them."""

_SOURCES = ("jwks", "jwks_url", "key_file", "secret_file", "secret_env")
_FIELDS = {
    *("name", "iss", "audiences", "algorithms", "types", "require_type", "required_claims", "leeway"),
    *("max_age", "refresh", "stale_if_error", "enrich"),
    *_SOURCES,
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class IssuerError(ValueError):
    """The config of the issuers cannot be used: the message names the issuer and the field."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may issue tokens, and how they must look. leeway, max_age, refresh and stale_if_error are seconds.

    `keys` holds the keys that stand in the config; with `jwks_url` it is None and they are fetched.
    """

    name: str
    iss: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS
    types: tuple[str, ...] = DEFAULT_TYPES
    leeway: float = 30.0
    max_age: float | None = None
    jwks_url: str = ""
    refresh: float = 300.0
    stale_if_error: float = 86_400.0
    require_type: bool = False
    required_claims: tuple[str, ...] = ()
    enrich: Enrich | None = None
    keys: KeySet | None = field(default=None, repr=False)


def parse_issuers(items: Sequence[Mapping[str, Any]], base_dir: Path) -> dict[str, Issuer]:
    """Read the config's list of issuers; paths in it are relative to base_dir.

    Raises IssuerError, a ValueError, naming the issuer and the field.
    """
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise IssuerError("issuers: expected a list")
    issuers: dict[str, Issuer] = {}
    for number, item in enumerate(items):
        where = f"issuers[{number}]"
        if not isinstance(item, Mapping):
            raise IssuerError(f"{where}: expected a mapping")
        name = item.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise IssuerError(f"{where}.name: expected a name of letters, digits, '.', '_' and '-'")
        if name in issuers:
            raise IssuerError(f"issuer {name}: name: is there twice")
        try:
            issuer = _parse(name, item, base_dir)
        except ValueError as error:
            raise IssuerError(f"issuer {name}: {error}") from error
        for other in issuers.values():
            if other.iss == issuer.iss:
                raise IssuerError(f"issuer {name}: iss: is the same as that of {other.name}")
        issuers[name] = issuer
    return issuers


def parse_inline(text: str) -> dict[str, Issuer]:
    """Issuers as JSON in a route's config in Kong: for tests and laptops (`kgate serve --allow-inline-issuers`).

    Their keys can only come from `jwks`: for Kong's config the server neither reads a file nor fetches a URL.
    Raises IssuerError.
    """
    try:
        items = strict_json.loads(text.encode())
    except ValueError as error:
        raise IssuerError(f"inline_issuers: not JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise IssuerError("inline_issuers: expected a list of issuers")
    for item in items:
        if isinstance(item, Mapping) and "jwks" not in item:
            raise IssuerError(
                "inline_issuers: jwks: is missing; other sources of keys are for the server's config"
            )
        if isinstance(item, Mapping) and "enrich" in item:
            raise IssuerError("inline_issuers: enrich: is for the server's config")
    return parse_issuers(items, Path())


def _parse(name: str, item: Mapping[str, Any], base_dir: Path) -> Issuer:
    for key in item:
        if key not in _FIELDS:
            raise ValueError(f"{key}: unknown field")
    iss = item.get("iss")
    if not isinstance(iss, str) or not iss or not iss.isprintable() or "|" in iss:
        # `|` joins issuer and subject to a user's key
        raise ValueError("iss: expected a non-empty text without '|'")
    if "audiences" not in item:
        raise ValueError("audiences: is missing; write [] to accept tokens for anybody")
    audiences = _texts("audiences", item["audiences"])
    algorithms = _texts("algorithms", item.get("algorithms", list(DEFAULT_ALGORITHMS)))
    if not algorithms:
        raise ValueError("algorithms: names none")
    for alg in algorithms:
        if alg not in NAMES:
            raise ValueError(f"algorithms: {alg!r} is not supported, use {', '.join(sorted(NAMES))}")
    types = tuple(t.lower() for t in _texts("types", item.get("types", list(DEFAULT_TYPES))))
    max_age = item.get("max_age")
    return Issuer(
        name=name,
        iss=iss,
        audiences=audiences,
        algorithms=algorithms,
        types=types,
        leeway=_seconds("leeway", item.get("leeway", 30), 0, 300),
        max_age=None if max_age is None else _seconds("max_age", max_age, 1, 10**9),
        jwks_url=http_url("jwks_url", item["jwks_url"]) if "jwks_url" in item else "",
        refresh=_seconds("refresh", item.get("refresh", 300), 1, 86_400),
        stale_if_error=_seconds("stale_if_error", item.get("stale_if_error", 86_400), 0, 30 * 86_400),
        require_type=_flag("require_type", item.get("require_type", False)),
        required_claims=_texts("required_claims", item.get("required_claims", [])),
        enrich=None if item.get("enrich") is None else parse_enrich(item["enrich"], base_dir),
        keys=_keys(item, algorithms, base_dir),
    )


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        raise ValueError(f"{name}: expected a list of texts")
    return tuple(value)


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value


def _seconds(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name}: expected seconds between {low} and {high}")
    return float(value)


def _keys(item: Mapping[str, Any], algorithms: tuple[str, ...], base_dir: Path) -> KeySet | None:
    given = [source for source in _SOURCES if source in item]
    if len(given) != 1:
        raise ValueError(f"{' and '.join(given) or 'jwks_url'}: give exactly one of {', '.join(_SOURCES)}")
    source = given[0]
    value = item[source]
    try:
        match source:
            case "jwks_url":
                return None
            case "jwks":
                return parse_jwks(value, algorithms)
            case "key_file":
                return single_key(_public_key(read_file(value, base_dir)), algorithms)
            case "secret_file":
                secret = read_file(value, base_dir, private=True).strip()
            case _:
                secret = os.environ.get(str(value), "").encode()
                if not secret:
                    raise ValueError(f"the environment variable {value} is not set")
        return single_key(secret, algorithms)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _public_key(pem: bytes) -> Any:
    if b"PRIVATE KEY" in pem:
        raise ValueError("holds a private key; a verifier needs the public one only")
    try:
        if b"BEGIN CERTIFICATE" in pem:
            return x509.load_pem_x509_certificate(pem).public_key()
        return load_pem_public_key(pem)
    except UnsupportedAlgorithm as error:
        raise ValueError("the key is of an unknown kind") from error
