"""The health gate: after a node got a new config, is its proxy still well? Asked before the next node gets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decl.http import Pool, TransportError


@dataclass(frozen=True, slots=True)
class Gate:
    """probes: paths (asked of each proxy) or URLs; none: no gate. status: the good ones, empty: all below 500.
    requests: how many in all, spread over `seconds`. error_share: the part of bad answers that is still well."""

    probes: tuple[str, ...] = ()
    status: tuple[int, ...] = ()
    requests: int = 20
    error_share: float = 0.0
    seconds: float = 0.0


def gate_of(settings: Mapping[str, Any]) -> Gate:
    """The gate of a cluster's `gate:`, which the schema has checked."""
    known = dict(settings)
    for name in ("probes", "status"):
        if name in known:
            known[name] = tuple(known[name])
    return Gate(**known)


def ask(url: str, timeout: float = 5.0) -> int | None:
    """The status that a GET on a new connection is answered with, None for no answer."""
    pool = Pool(url, {"Connection": "close", "User-Agent": "kgate-gate"}, timeout)
    try:
        return pool.request("GET", "").status
    except TransportError:
        return None
    finally:
        pool.close()


def trouble(
    gate: Gate,
    proxies: Sequence[str],
    look: Callable[[str], int | None] = ask,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """What is wrong, None when all is well."""
    urls = [
        url
        for probe in gate.probes
        for url in ([proxy + probe for proxy in proxies] if probe.startswith("/") else [probe])
    ]
    if not urls:
        return None
    bad: dict[str, int] = {}
    for number in range(gate.requests):
        url = urls[number % len(urls)]
        status = look(url)
        good = status is not None and (status in gate.status if gate.status else status < 500)
        if not good:
            what = f"{url}: {'no answer' if status is None else f'HTTP {status}'}"
            bad[what] = bad.get(what, 0) + 1
            if sum(bad.values()) > gate.error_share * gate.requests:
                told = ", ".join(f"{what} ({count} times)" for what, count in bad.items())
                return f"the health gate failed after {number + 1} requests: {told}"
        if gate.seconds:
            sleep(gate.seconds / gate.requests)
    return None
