"""The nodes of a cluster: a list of URLs, where `dns+http://NAME:PORT` stands for all addresses of the name."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

PREFIX = "dns+"


class NodeUrl(NamedTuple):
    """Where to connect to, and the name that the node's certificate (and Host header) has, if another."""

    url: str
    name: str | None = None


def addresses(name: str) -> list[str]:
    """All addresses of a name, sorted, IPv4 first. Raises OSError."""
    found = {(info[0] != socket.AF_INET, str(info[4][0])) for info in socket.getaddrinfo(name, None)}
    return [address for _, address in sorted(found)]


def resolve(urls: Iterable[str], look_up: Callable[[str], list[str]] = addresses) -> list[NodeUrl]:
    """The nodes, each once, in their order. Raises ValueError naming the URL whose name has no address."""
    found: dict[str, NodeUrl] = {}
    for url in urls:
        if not url.startswith(PREFIX):
            found.setdefault(url.rstrip("/"), NodeUrl(url.rstrip("/")))
            continue
        parts = urlsplit(url.removeprefix(PREFIX))
        name = parts.hostname or ""
        try:
            known = look_up(name)
        except OSError as error:
            raise ValueError(f"{url}: {name} has no address: {error.strerror or error}") from error
        port = parts.port or (443 if parts.scheme == "https" else 80)
        for address in known:
            host = f"[{address}]" if ":" in address else address
            made = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"
            found.setdefault(made, NodeUrl(made, name))
    return list(found.values())
