"""Is the adapter live? `GET /.kgate/probe` on the proxy, which the adapter answers with a hash of its config.

A proxy has many workers, and each takes a new config by itself: one answer proves one worker, so the probe is
repeated on new connections, which the kernel spreads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import md5
from typing import Any

from decl.apply_db import StoppedError
from decl.flatten import Flat
from decl.http import Pool, TransportError
from decl.kinds import KINDS

PATH = "/.kgate/probe"
CONNECTIONS = 20
WAIT = 30.0
"""Seconds until a probe is given up: Kong's own frequencies are 5 s each by default."""
DEFAULT_FREQUENCY = 5.0


def adapter_hash(config: Mapping[str, Any]) -> str:
    """What the adapter answers when it has this config of the plugin `kgate`."""
    text = f"{config['socket']}\n{','.join(config['strip'])}"
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def expected_hash(wanted: Flat) -> str | None:
    """The hash of the adapter's config in a rendered document, None when it has none."""
    for plugin in wanted["plugins"].values():
        if plugin["name"] == "kgate" and not any(plugin.get(field) for field in KINDS["plugins"].refs):
            return adapter_hash(plugin["config"])
    return None


def seen(proxy: str, timeout: float = 2.0) -> str | None:
    """The hash that one new connection to a proxy is answered with; None when no adapter answers."""
    pool = Pool(proxy, {"Connection": "close"}, timeout)
    try:
        answer = pool.request("GET", PATH)
    except TransportError:
        return None
    finally:
        pool.close()
    found = answer.fields().get("config") if answer.status == 200 else None
    return found if isinstance(found, str) else None


def wait_live(
    proxies: Sequence[str],
    expected: str,
    wait: float = WAIT,
    connections: int = CONNECTIONS,
    look: Callable[[str], str | None] = seen,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when every proxy has answered with the hash on so many new connections in a row.

    wait is seconds. Raises StoppedError.
    """
    end = now() + wait
    for proxy in proxies:
        in_a_row = 0
        while in_a_row < connections:
            found = look(proxy)
            if found == expected:
                in_a_row += 1
                continue
            in_a_row = 0
            if now() >= end:
                what = "no adapter answers" if found is None else "the adapter has another config"
                raise StoppedError(
                    f"{proxy}{PATH}: {what} after {wait:g} s; protected routes were not written"
                )
            sleep(0.1)


def propagation_time(node: Mapping[str, Any]) -> float:
    """Seconds until a Kong with a database surely follows a write: its two frequencies and one more second.

    node: what GET / answers, or nothing.
    """
    settings = node.get("configuration")
    found = settings if isinstance(settings, Mapping) else {}
    total = 1.0
    for name in ("db_update_frequency", "worker_state_update_frequency"):
        value = found.get(name)
        total += float(value) if isinstance(value, int | float) else DEFAULT_FREQUENCY
    return total
