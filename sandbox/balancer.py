"""Which address a request goes to: an upstream's targets by weight, or the service's own host."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple


class NoPeer(Exception):
    """The upstream has no target to use: 503."""


class NoName(Exception):
    """The host's name does not resolve: 503."""


class Peer(NamedTuple):
    """An address to try, and the host name that stands in the Host header."""

    ip: str
    port: int
    host: str


class Ring:
    """Targets of one upstream in smooth weighted round robin: 3:1 gives a a b a, over and over."""

    def __init__(self, targets: Iterable[tuple[str, int, int]]) -> None:
        self._targets = [t for t in targets if t[2] > 0]
        self._current = [0] * len(self._targets)
        self._total = sum(t[2] for t in self._targets)

    def next(self) -> tuple[str, int]:
        """Host and port of the next target. Raises NoPeer."""
        if not self._targets:
            raise NoPeer
        for i, target in enumerate(self._targets):
            self._current[i] += target[2]
        best = max(range(len(self._targets)), key=self._current.__getitem__)
        self._current[best] -= self._total
        host, port, _ = self._targets[best]
        return host, port


class Balancer:
    """The upstreams of one configuration."""

    def __init__(self, upstreams: Iterable[Mapping[str, Any]], targets: Iterable[Mapping[str, Any]]) -> None:
        by_upstream: dict[str, list[tuple[str, int, int]]] = {}
        for target in targets:
            host, _, port = target["target"].rpartition(":")
            by_upstream.setdefault(target["upstream"]["id"], []).append(
                (host.strip("[]"), int(port), int(target["weight"]))
            )
        self.upstreams = {u["name"]: u for u in upstreams}
        self._rings = {u["name"]: Ring(by_upstream.get(u["id"], ())) for u in self.upstreams.values()}

    async def peer(self, host: str, port: int) -> Peer:
        """The next address for a service's host: an upstream's name, an IP or a name.

        Raises NoPeer, NoName.
        """
        ring = self._rings.get(host)
        if ring is not None:
            host, port = ring.next()
        return Peer(await resolve(host), port, host)


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
