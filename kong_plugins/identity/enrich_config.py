"""An issuer's `enrich`: where more is known of a user than the token says.

enrich:
  url: https://auth.example.com/userinfo
  kind: userinfo                    # GET with the token as bearer (OpenID Connect Core, section 5.3) ...
  # kind: introspection             # ... or POST of the token (RFC 7662), with client_id and a secret
  claims: [grade, roles, employee]  # what is taken of the answer; claims of the token are never replaced
  timeout: 2                        # seconds for one question
  ttl: 300                          # seconds that an answer is fresh
  wait_ms: 0                        # milliseconds that a token's first request waits for the answer, at most 100
  stale_for: 3600                   # seconds beyond it that an old answer is used when no new one comes
  client_id: kgate
  client_secret_file: keys/client   # or client_secret_env
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kong_plugins.identity.files import read_file

KINDS = ("userinfo", "introspection")
OWN_CLAIMS = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp", "active"})
"""What only a token can say: an answer must not change whose it is or what it allows."""

_FIELDS = {
    *("url", "kind", "claims", "timeout", "ttl", "stale_for", "wait_ms"),
    *("client_id", "client_secret_file", "client_secret_env"),
}
MOST_WAIT_MS = 100
"""A request waits no longer for more than its token says."""
_CLAIM = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Enrich:
    """Where and what to ask. timeout, ttl and stale_for are seconds, wait_ms milliseconds."""

    url: str
    claims: tuple[str, ...]
    kind: str = "userinfo"
    timeout: float = 2.0
    ttl: float = 300.0
    stale_for: float = 3600.0
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    wait_ms: int = 0


def parse_enrich(raw: Any, base_dir: Path) -> Enrich:
    """Read the field; paths are relative to base_dir. Raises ValueError naming it."""
    if not isinstance(raw, Mapping):
        raise ValueError("enrich: expected a map")
    for name in raw:
        if name not in _FIELDS:
            raise ValueError(f"enrich.{name}: unknown field")
    kind = raw.get("kind", "userinfo")
    if kind not in KINDS:
        raise ValueError(f"enrich.kind: expected one of {', '.join(KINDS)}")
    claims = raw.get("claims")
    if not isinstance(claims, list) or not claims:
        raise ValueError("enrich.claims: expected a list of claims to take")
    for claim in claims:
        if not isinstance(claim, str) or not _CLAIM.fullmatch(claim):
            raise ValueError("enrich.claims: expected names of claims")
        if claim in OWN_CLAIMS:
            raise ValueError(f"enrich.claims: {claim} can come from the token alone")
    client_id = raw.get("client_id", "")
    if not isinstance(client_id, str) or not client_id.isprintable():
        raise ValueError("enrich.client_id: expected text")
    secret = _secret(raw, base_dir)
    if kind == "userinfo" and (client_id or secret):
        raise ValueError("enrich.client_id: is for introspection; user-info takes the token itself")
    if bool(client_id) != bool(secret):
        raise ValueError("enrich.client_id: goes with client_secret_file or client_secret_env")
    return Enrich(
        url=http_url("enrich.url", raw.get("url")),
        claims=tuple(claims),
        kind=kind,
        timeout=_seconds("timeout", raw.get("timeout", 2), 0.05, 30),
        ttl=_seconds("ttl", raw.get("ttl", 300), 1, 86_400),
        stale_for=_seconds("stale_for", raw.get("stale_for", 3600), 0, 7 * 86_400),
        client_id=client_id,
        client_secret=secret,
        wait_ms=_wait(raw.get("wait_ms", 0)),
    )


def _wait(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_WAIT_MS:
        raise ValueError(f"enrich.wait_ms: expected milliseconds between 0 and {MOST_WAIT_MS}")
    return value


def _secret(raw: Mapping[str, Any], base_dir: Path) -> str:
    if "client_secret_file" in raw and "client_secret_env" in raw:
        raise ValueError("enrich.client_secret_file: give it or client_secret_env, not both")
    if "client_secret_file" in raw:
        try:
            return read_file(raw["client_secret_file"], base_dir, private=True).strip().decode()
        except ValueError as error:
            raise ValueError(f"enrich.client_secret_file: {error}") from error
    if "client_secret_env" in raw:
        found = os.environ.get(str(raw["client_secret_env"]), "")
        if not found:
            raise ValueError(
                f"enrich.client_secret_env: the environment variable {raw['client_secret_env']} is not set"
            )
        return found
    return ""


def _seconds(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"enrich.{name}: expected seconds between {low} and {high}")
    return float(value)


def http_url(name: str, value: Any) -> str:
    """A URL that may be asked. Raises ValueError naming the field."""
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        good = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
        good = good and parts is not None and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{name}: expected an http:// or https:// URL")
    return str(value)
