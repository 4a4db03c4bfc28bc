"""The plugin server's own configuration: server.yaml (`kgate render --server` writes it).

    issuers: [{name, iss, audiences, jwks_url | jwks | key_file | secret_file, ...}]
    passport: {issuer: kgate, key: {alg: EdDSA, file: passport-key.pem, generate: true}}
    redis: {url: "redis://127.0.0.1:6379/0", namespace: default, poll_seconds: 1}

Trust anchors stand here and never in Kong's config: whoever reaches the socket cannot bring keys along.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_KNOWN = {"issuers", "passport", "redis", "tenants", "clusters"}


class ServerConfigError(ValueError):
    """server.yaml cannot be used: the message names file and field."""


class RedisConfig(NamedTuple):
    """Where the control state is. url None: in memory only (changes reach this server alone)."""

    url: str | None = None
    namespace: str = "default"
    poll_seconds: float = 1.0


class ServerConfig(NamedTuple):
    """Parsed server.yaml. `trust` is the mapping that identity.trust.build_trust takes."""

    trust: Mapping[str, Any]
    redis: RedisConfig
    base_dir: Path


def load(path: Path | None, env: Mapping[str, str]) -> ServerConfig:
    """Read server.yaml; without a path an empty one. REDIS_URL in `env` is used where the file has none.

    Raises ServerConfigError.
    """
    raw: Any = {}
    if path is not None:
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ServerConfigError(f"{path}: {error}") from error
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ServerConfigError(f"{path}: expected a map at the top")
    unknown = sorted(set(map(str, raw)) - _KNOWN)
    if unknown:
        raise ServerConfigError(
            f"{path}: unknown field {unknown[0]!r}, known are {', '.join(sorted(_KNOWN))}"
        )
    base_dir = path.parent if path is not None else Path.cwd()
    return ServerConfig(trust=raw, redis=_redis(path, raw.get("redis"), env), base_dir=base_dir)


def _redis(path: Path | None, raw: Any, env: Mapping[str, str]) -> RedisConfig:
    if raw is None:
        return RedisConfig(url=env.get("REDIS_URL"))
    if not isinstance(raw, dict):
        raise ServerConfigError(f"{path}: redis: expected a map")
    unknown = sorted(set(map(str, raw)) - set(RedisConfig._fields))
    if unknown:
        raise ServerConfigError(f"{path}: redis: unknown field {unknown[0]!r}")
    poll = raw.get("poll_seconds", 1.0)
    if isinstance(poll, bool) or not isinstance(poll, int | float) or not 0.05 <= poll <= 60:
        raise ServerConfigError(f"{path}: redis.poll_seconds: expected 0.05 to 60 seconds")
    for field in ("url", "namespace"):
        if not isinstance(raw.get(field, ""), str):
            raise ServerConfigError(f"{path}: redis.{field}: expected text")
    return RedisConfig(
        url=raw.get("url") or env.get("REDIS_URL"),
        namespace=raw.get("namespace", "default"),
        poll_seconds=float(poll),
    )
