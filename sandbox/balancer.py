"""Which address a request goes to: an upstream's target, or the service's own host."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sandbox.health import Address, Health, address_of
from sandbox.rings import Choice, Ring, Target, make_ring


class NoPeer(Exception):
    """The upstream has no target to use: 503."""


class NoName(Exception):
    """The host's name does not resolve: 503."""


class Peer(NamedTuple):
    """An address to try, and the host name that stands in the Host header."""

    ip: str
    port: int
    host: str


def targets_of(
    upstreams: Iterable[Mapping[str, Any]], targets: Iterable[Mapping[str, Any]]
) -> dict[str, list[Target]]:
    """The targets of each upstream by its name."""
    by_id: dict[str, list[Target]] = {}
    for target in targets:
        found = Target(address_of(target), int(target["weight"]))
        by_id.setdefault(target["upstream"]["id"], []).append(found)
    return {u["name"]: by_id.get(u["id"], []) for u in upstreams}


class Balancer:
    """The upstreams of one configuration in one worker. health: the node's."""

    def __init__(
        self,
        upstreams: Iterable[Mapping[str, Any]],
        targets: Iterable[Mapping[str, Any]],
        health: Health | None = None,
    ) -> None:
        self.upstreams = {u["name"]: u for u in upstreams}
        self.health = health or Health()
        self._targets = targets_of(self.upstreams.values(), targets)
        self._rings: dict[str, Ring] = {
            name: make_ring(u.get("algorithm") or "round-robin", self._targets[name], u.get("slots") or 10000)
            for name, u in self.upstreams.items()
        }

    async def peer(self, host: str, port: int, choice: Choice) -> Peer:
        """The next address for a service's host: an upstream's name, an IP or a name.

        Raises NoPeer, NoName.
        """
        ring = self._rings.get(host)
        if ring is not None:
            if not self._healthy(host):
                raise NoPeer
            if choice.address is not None:
                choice.failed.add(choice.address)
            address = ring.pick(choice, lambda a: self.health.available(host, a))
            if address is None:
                raise NoPeer
            choice.address = address
            host, port = address
        return Peer(await resolve(host), port, host)

    def _healthy(self, name: str) -> bool:
        """Whether enough of the upstream's weight is up: more than `healthchecks.threshold` per cent."""
        total = sum(t.weight for t in self._targets[name])
        up = sum(t.weight for t in self._targets[name] if self.health.available(name, t.address))
        threshold = (self.upstreams[name].get("healthchecks") or {}).get("threshold") or 0
        return total > 0 and up / total * 100 > threshold

    def done(self, host: str, choice: Choice, seconds: float, now: float) -> None:
        """The request to this host is over."""
        ring = self._rings.get(host)
        if ring is not None:
            ring.done(choice, seconds, now)


def addresses(targets: Mapping[str, list[Target]]) -> dict[str, list[Address]]:
    """Targets of some weight: those that have a health."""
    return {name: [t.address for t in found if t.weight > 0] for name, found in targets.items()}


def is_ip(host: str) -> bool:
    """Whether a host is an IP literal."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


async def resolve(host: str) -> str:
    """An address for a host. Raises NoName."""
    if is_ip(host):
        return host.strip("[]")
    if host == "localhost":
        return "127.0.0.1"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as e:
        raise NoName(host) from e
    return str(sorted(found, key=lambda item: item[0] != socket.AF_INET)[0][4][0])
