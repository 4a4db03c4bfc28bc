"""Health of upstream targets: counters, passive reports and active checks, by Kong's rules.

One object a node: its workers share it, and it outlives a configuration, as Kong's shared memory does. A
failure that was tried again counts as a TCP failure or a timeout; the last or only try counts by the status that
nginx gave it, so with `retries: 0` a refused connection is a 502 and never a TCP failure.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]
"""Host and port of a target, as the configuration names them."""
HEALTHY, UNHEALTHY, OFF = "HEALTHY", "UNHEALTHY", "HEALTHCHECKS_OFF"
Section = Mapping[str, Any]


@dataclass
class _State:
    healthy: bool = True
    successes: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    def force(self, healthy: bool) -> None:
        self.healthy, self.successes, self.failures = healthy, 0, {}


def address_of(target: Section) -> Address:
    """Host and port of a target entity."""
    host, _, port = target["target"].rpartition(":")
    return host.strip("[]"), int(port)


def uses_checks(upstream: Section) -> bool:
    """Whether the upstream has any health check switched on."""
    checks = upstream.get("healthchecks") or {}
    active, passive = checks.get("active") or {}, checks.get("passive") or {}
    failing = passive.get("unhealthy") or {}
    return any((active.get(kind) or {}).get("interval") for kind in ("healthy", "unhealthy")) or any(
        failing.get(name) for name in ("tcp_failures", "timeouts", "http_failures")
    )


class Health:
    """The state of all targets of a node, by the upstream's name."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, Address], _State] = {}
        self._upstreams: dict[str, Section] = {}
        self._targets: dict[str, list[Address]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def configure(self, upstreams: Mapping[str, Section], targets: Mapping[str, list[Address]]) -> None:
        """A new configuration: what stays keeps its state, what went is forgotten."""
        self._upstreams, self._targets = dict(upstreams), dict(targets)
        keep = {(name, address) for name, found in targets.items() for address in found}
        self._states = {key: state for key, state in self._states.items() if key in keep}
        self._restart()

    def available(self, upstream: str, address: Address) -> bool:
        """Whether the balancer may use this target."""
        state = self._states.get((upstream, address))
        return state is None or state.healthy

    def status(self, upstream: str, address: Address) -> str:
        """HEALTHY, UNHEALTHY or HEALTHCHECKS_OFF: what the Admin API shows of a target."""
        if not uses_checks(self._upstreams.get(upstream, {})):
            return OFF
        return HEALTHY if self.available(upstream, address) else UNHEALTHY

    def set(self, upstream: str, address: Address, healthy: bool) -> None:
        """PUT /upstreams/U/targets/T/healthy and .../unhealthy. Without checks there is nothing to set."""
        if uses_checks(self._upstreams.get(upstream, {})):
            self._state(upstream, address).force(healthy)

    def state(self, upstream: Section, target: Section) -> str:
        """`status` for entities, as the Admin API has them."""
        return self.status(upstream["name"], address_of(target))

    def mark(self, upstream: Section, target: Section, healthy: bool) -> None:
        """`set` for entities, as the Admin API has them."""
        self.set(upstream["name"], address_of(target), healthy)

    # -- reports ---------------------------------------------------------------------------------------
    def report_status(self, upstream: str, address: Address, status: int, kind: str = "passive") -> None:
        """An answer, or the last try's failure as nginx's status."""
        checks = self._checks(upstream, kind)
        if checks is None:
            return
        good, bad = checks.get("healthy") or {}, checks.get("unhealthy") or {}
        if status in (good.get("http_statuses") or ()):
            self._count(upstream, address, "success", good.get("successes"))
        elif status in (bad.get("http_statuses") or ()) or status == 0:
            self._count(upstream, address, "http", bad.get("http_failures"))

    def report_failure(self, upstream: str, address: Address, what: str, kind: str = "passive") -> None:
        """what: `tcp` or `timeout`, of a try that another one followed."""
        checks = self._checks(upstream, kind)
        if checks is not None:
            limits = checks.get("unhealthy") or {}
            name = "timeouts" if what == "timeout" else "tcp_failures"
            self._count(upstream, address, what, limits.get(name))

    def report_last(self, upstream: str, address: Address, status: int) -> None:
        """The end of a request that went to a target: 504 is a timeout, all else counts by its status."""
        if status == 504:
            self.report_failure(upstream, address, "timeout")
        else:
            self.report_status(upstream, address, status)

    def _checks(self, upstream: str, kind: str) -> Section | None:
        found = self._upstreams.get(upstream)
        if found is None or not uses_checks(found):
            return None
        checks: Section | None = (found.get("healthchecks") or {}).get(kind)
        return checks

    def _state(self, upstream: str, address: Address) -> _State:
        return self._states.setdefault((upstream, address), _State())

    def _count(self, upstream: str, address: Address, what: str, limit: int | None) -> None:
        if not limit:
            return
        state = self._state(upstream, address)
        good = what == "success"
        # in full health a success tells nothing, when down a failure does not
        if good and (not state.failures if state.healthy else False):
            return
        if not good and not state.healthy and not state.successes:
            return
        if good:
            state.successes, state.failures = state.successes + 1, {}
            reached = state.successes >= limit
        else:
            state.failures[what] = state.failures.get(what, 0) + 1
            state.successes = 0
            reached = state.failures[what] >= limit
        if reached:
            state.force(good)

    # -- active checks ---------------------------------------------------------------------------------
    def _restart(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        for name, upstream in self._upstreams.items():
            active = (upstream.get("healthchecks") or {}).get("active") or {}
            if active.get("type", "http") == "tcp":
                continue  # as in Kong's http subsystem
            for wanted, kind in ((True, "healthy"), (False, "unhealthy")):
                interval = (active.get(kind) or {}).get("interval") or 0
                if interval > 0:
                    work = self._probe_all(name, active, interval, wanted)
                    self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _probe_all(self, name: str, active: Section, interval: float, wanted: bool) -> None:
        while True:
            addresses = [a for a in self._targets.get(name, ()) if self.available(name, a) == wanted]
            await asyncio.gather(*(self._probe(name, active, address) for address in addresses))
            await asyncio.sleep(interval)

    async def _probe(self, name: str, active: Section, address: Address) -> None:
        timeout = active.get("timeout") or 1
        try:
            async with asyncio.timeout(timeout):
                host = self._upstreams[name].get("host_header") or address[0]
                status = await _get(
                    address, active.get("http_path") or "/", host, active.get("headers") or {}
                )
        except TimeoutError:
            self.report_failure(name, address, "timeout", "active")
        except OSError:
            self.report_failure(name, address, "tcp", "active")
        else:
            self.report_status(name, address, status, "active")

    async def close(self) -> None:
        """End the active checks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _get(address: Address, path: str, host: str, headers: Mapping[str, Any]) -> int:
    """One GET of HTTP/1.0; the status, 0 for no HTTP. Raises OSError."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        lines = [f"{k}: {v}" for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs])]
        text = "\r\n".join([f"GET {path} HTTP/1.0", *lines, f"Host: {host}", "", ""])
        writer.write(text.encode())
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    parts = line.split()
    return int(parts[1]) if len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1].isdigit() else 0
