"""Looking at the control state's Redis, the keyring in it, and a plugin server's health port."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis as redis_py

from cli.doctor.model import Key, Redis, Server
from decl.http import Pool, TransportError
from kong_plugins.identity.key_records import record_of, states
from kong_plugins.state.base import StoreError
from kong_plugins.state.connection import connect, display_address
from kong_plugins.state.open import open_store

Clock = Callable[[], float]
_METRICS = ("kgate_degraded", "kgate_state_age_seconds", "kgate_workers", "kgate_refused_peers_total")


def look_at_redis(url: str, ca_file: str | None, clock: Clock = time.time) -> Redis:
    """Raises ValueError for a URL that is none."""
    address = display_address(url)
    client = connect(url, ca_file)
    try:
        client.ping()
        begun = clock()
        seconds, micros = client.time()
        skew = float(seconds) + float(micros) / 1e6 - (begun + clock()) / 2
        info = _info(client)
    except (redis_py.RedisError, OSError) as error:
        return Redis(address, error=str(error).splitlines()[0][:200] if str(error) else type(error).__name__)
    finally:
        client.close()
    return Redis(
        address,
        version=str(info.get("redis_version") or ""),
        policy=info.get("maxmemory_policy"),
        role=str(info.get("role") or ""),
        used=int(info.get("used_memory") or 0),
        limit=int(info.get("maxmemory") or 0),
        skew=skew,
    )


def _info(client: Any) -> dict[str, Any]:
    """INFO, empty where the user may not ask for it."""
    try:
        found: dict[str, Any] = client.info()
    except redis_py.exceptions.NoPermissionError:
        return {}
    return found


def look_at_keys(url: str, namespace: str, ca_file: str | None) -> list[Key] | None:
    """The keyring of a namespace; None when it cannot be read. Raises ValueError for a URL that is none."""
    store = open_store(url, namespace, ca_file)
    try:
        records = [record_of(each.key, each.data, each.version) for each in store.records("keys")]
        now = store.now()
    except (StoreError, ValueError):
        return None
    finally:
        store.close()
    return [Key(each.record.kid, each.state, now - each.record.sign_from) for each in states(records, now)]


def look_at_server(url: str) -> Server:
    """A health port."""
    pool = Pool(url, {"Connection": "close"}, 3.0)
    try:
        alive, ready, metrics = (pool.request("GET", path) for path in ("/healthz", "/readyz", "/metrics"))
    except TransportError as error:
        return Server(url, error=error.reason)
    finally:
        pool.close()
    if "ready" not in ready.fields():
        return Server(url, error=f"/readyz answers HTTP {ready.status}, and not as kgate serve does")
    version = alive.fields().get("version")
    return Server(
        url, "", ready.fields(), version if isinstance(version, str) else None, _figures(metrics.body)
    )


def _figures(body: bytes) -> dict[str, float]:
    found = {}
    for line in body.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(" ")
        if name in _METRICS:
            found[name] = float(value)
    return found
