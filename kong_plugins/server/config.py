"""The plugin server's own configuration: server.yaml (`kgate render --server` writes it).

    issuers: [{name, iss, audiences, jwks_url | jwks | key_file | secret_file, ...}]
    passport: {issuer: kgate, key: {alg: EdDSA, file: passport-key.pem, generate: true}}
    redis: {url: "redis://127.0.0.1:6379/0", namespace: default, poll_seconds: 2, ca_file: redis-ca.pem}
    state: {key_file: state.key}       # key of the saved control state's checksums; made in the state dir if absent

Trust anchors stand here and never in Kong's config: whoever reaches the socket cannot bring keys along.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_KNOWN = {"issuers", "passport", "redis", "state", "tenants", "clusters"}


class ServerConfigError(ValueError):
    """server.yaml cannot be used: the message names file and field."""


class RedisConfig(NamedTuple):
    """Where the control state is. url None: there is none, the state is empty. ca_file: PEM of the authorities of a
    rediss:// URL."""

    url: str | None = None
    namespace: str = "default"
    poll_seconds: float = 2.0
    ca_file: str | None = None


class ServerConfig(NamedTuple):
    """Parsed server.yaml. `trust` is the mapping that identity.trust_config.build_trust takes."""

    trust: Mapping[str, Any]
    redis: RedisConfig
    base_dir: Path
    state_key_file: str | None = None


def load(path: Path | None, env: Mapping[str, str]) -> ServerConfig:
    """Read server.yaml; without a path an empty one. REDIS_URL in `env` is used where the file has none.

    Raises ServerConfigError.
    """
    raw: Any = {}
    if path is not None:
        try:
            raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ServerConfigError(f"{path}: {_where(error)}") from None  # its own text quotes the line
        except (OSError, UnicodeDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ServerConfigError(f"{path}: {what}") from None
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ServerConfigError(f"{path}: expected a map at the top")
    unknown = sorted(set(map(str, raw)) - _KNOWN)
    if unknown:
        raise ServerConfigError(
            f"{path}: unknown field {unknown[0]!r}, known are {', '.join(sorted(_KNOWN))}"
        )
    base_dir = path.parent if path is not None else Path.cwd()
    return ServerConfig(
        trust=raw,
        redis=_redis(path, raw.get("redis"), env, base_dir),
        base_dir=base_dir,
        state_key_file=_state_key_file(path, raw.get("state")),
    )


def _state_key_file(path: Path | None, raw: Any) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or set(raw) - {"key_file"}:
        raise ServerConfigError(f"{path}: state: expected a map with key_file alone")
    found = raw.get("key_file")
    if found is not None and (not isinstance(found, str) or not found):
        raise ServerConfigError(f"{path}: state.key_file: expected a path")
    return found


def _redis(path: Path | None, raw: Any, env: Mapping[str, str], base_dir: Path) -> RedisConfig:
    if raw is None:
        return RedisConfig(url=_url(env.get("REDIS_URL")))
    if not isinstance(raw, dict):
        raise ServerConfigError(f"{path}: redis: expected a map")
    unknown = sorted(set(map(str, raw)) - set(RedisConfig._fields))
    if unknown:
        raise ServerConfigError(f"{path}: redis: unknown field {unknown[0]!r}")
    poll = raw.get("poll_seconds", RedisConfig().poll_seconds)
    if isinstance(poll, bool) or not isinstance(poll, int | float) or not 0.05 <= poll <= 60:
        raise ServerConfigError(f"{path}: redis.poll_seconds: expected 0.05 to 60 seconds")
    for field in ("url", "namespace", "ca_file"):
        if not isinstance(raw.get(field, ""), str):
            raise ServerConfigError(f"{path}: redis.{field}: expected text")
    return RedisConfig(
        url=_url(raw.get("url") or env.get("REDIS_URL")),
        namespace=raw.get("namespace", "default"),
        poll_seconds=float(poll),
        ca_file=str(base_dir / raw["ca_file"]) if raw.get("ca_file") else None,
    )


def _url(url: str | None) -> str | None:
    """memory:// is the state of one process: for a server of several it says that there is none."""
    return None if url in (None, "", "memory://") else url


def _where(error: yaml.YAMLError) -> str:
    """What is wrong and where, without a word of the file: it may hold keys."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "not YAML"
    if mark is None:
        return "not YAML"
    # "found undefined alias 'NAME'": a name from the file
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem.split(chr(39))[0].strip()}"
