"""`url`, the shorthand for a service's protocol, host, port and path."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"https": 443, "grpcs": 443, "tls": 443}
DEFAULT_PORT = 80


class ServiceUrl(NamedTuple):
    """The parts as Kong stores them; an IPv6 host keeps its brackets."""

    protocol: str
    host: str
    port: int
    path: str | None


def parse_url(text: str) -> ServiceUrl:
    """Take a service's url apart as Kong does. Raises ValueError."""
    parts = urlsplit(text)
    port = parts.port  # raises ValueError when it is no port
    host = parts.netloc.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not host:
        raise ValueError("the host is missing")
    path = parts.path or None
    return ServiceUrl(
        parts.scheme, host, _PORTS.get(parts.scheme, DEFAULT_PORT) if port is None else port, path
    )


def is_ip_literal(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def target_text(host: str, port: int) -> str:
    """host:port as Kong's targets are written."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
