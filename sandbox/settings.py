"""The settings of the sandbox: Kong's own environment variables, as stock Kong reads them.

Unknown KONG_* variables are kept out of the way, as Kong does with what another version knows. KONG_SANDBOX_*
are the sandbox's own: how long writes in DB mode take to reach the proxy, and the data planes that a control
plane shows.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
BUNDLED = ("cors", "key-auth", "request-termination")
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class PluginServer:
    """One `pluginserver_*` entry: a plugin's name, its unix socket, and the command that prints its info."""

    name: str
    socket: str
    query_cmd: str


@dataclass(frozen=True)
class Settings:
    """What the sandbox reads of Kong's configuration. Times are in seconds."""

    plugins: tuple[str, ...]
    lua_package_path: str
    pluginservers: tuple[PluginServer, ...]
    proxy_listen: tuple[str, int]
    admin_listen: tuple[str, int]
    trusted_ips: tuple[Network, ...]
    real_ip_header: str
    real_ip_recursive: bool
    declarative_config: str | None
    connect_timeout: float
    send_timeout: float
    read_timeout: float
    max_body: int
    database: str = "off"  # or postgres: kept in memory, nothing is asked of a server
    role: str = "traditional"
    propagation: float = 0.05  # seconds until the proxy follows a write in DB mode
    data_planes: int = 0
    data_plane_delay: float = 0.2  # seconds until data planes follow the control plane


def seconds(value: str, field: str) -> float:
    """nginx's time syntax (`60s`, `300ms`, `1m`, bare = seconds). Raises ValueError naming the field."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|)", value.strip())
    if not match:
        raise ValueError(f"{field}: not a time: {value!r} (write 300ms, 60s, 1m)")
    return int(match[1]) * _UNITS[match[2]]


def listen(value: str, field: str) -> tuple[str, int]:
    """The first `host:port` of a listen directive, options dropped. Raises ValueError naming the field."""
    first = value.split(",")[0].split()[0] if value.strip() else ""
    host, _, port = first.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{field}: not host:port: {value!r}")
    return host.strip("[]"), int(port)


def networks(value: str, field: str) -> tuple[Network, ...]:
    """A comma-separated list of addresses and CIDR blocks. Raises ValueError naming the field."""
    found = []
    for part in filter(None, (p.strip() for p in value.split(","))):
        try:
            found.append(ipaddress.ip_network(part, strict=False))
        except ValueError as e:
            raise ValueError(f"{field}: not an address or CIDR block: {part!r}") from e
    return tuple(found)


def size(value: str, field: str) -> int:
    """nginx's size syntax in bytes; 0 is no limit. Raises ValueError naming the field."""
    match = re.fullmatch(r"(\d+)([kKmMgG]?)", value.strip())
    if not match:
        raise ValueError(f"{field}: not a size: {value!r} (write 10m)")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}[match[2].lower()]


def _names(value: str) -> list[str]:
    return [name for name in (part.strip() for part in value.split(",")) if name]


def load(env: Mapping[str, str]) -> Settings:
    """Settings from KONG_* variables, with Kong's defaults. Raises ValueError naming the variable."""

    def get(name: str, default: str) -> str:
        return env.get(name) or default

    plugins: dict[str, None] = {}
    for name in _names(get("KONG_PLUGINS", "bundled")):
        plugins.update(dict.fromkeys(BUNDLED if name == "bundled" else (name,)))
    plugins.pop("off", None)
    servers = []
    for name in _names(get("KONG_PLUGINSERVER_NAMES", "")):
        prefix = f"KONG_PLUGINSERVER_{name.upper().replace('-', '_')}"
        query = env.get(f"{prefix}_QUERY_CMD")
        if not query:
            raise ValueError(f"{prefix}_QUERY_CMD: required for plugin server {name!r}")
        servers.append(PluginServer(name, get(f"{prefix}_SOCKET", f"/usr/local/kong/{name}.socket"), query))
    return Settings(
        plugins=tuple(plugins),
        lua_package_path=get("KONG_LUA_PACKAGE_PATH", ";;"),
        pluginservers=tuple(servers),
        proxy_listen=listen(get("KONG_PROXY_LISTEN", "127.0.0.1:8000"), "KONG_PROXY_LISTEN"),
        admin_listen=listen(get("KONG_ADMIN_LISTEN", "127.0.0.1:8001"), "KONG_ADMIN_LISTEN"),
        trusted_ips=networks(get("KONG_TRUSTED_IPS", ""), "KONG_TRUSTED_IPS"),
        real_ip_header=get("KONG_REAL_IP_HEADER", "X-Real-IP"),
        real_ip_recursive=get("KONG_REAL_IP_RECURSIVE", "off").lower() in ("on", "true", "1"),
        declarative_config=env.get("KONG_DECLARATIVE_CONFIG") or None,
        connect_timeout=_timeout(env, "CONNECT"),
        send_timeout=_timeout(env, "SEND"),
        read_timeout=_timeout(env, "READ"),
        max_body=size(
            get("KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE", "0"), "KONG_NGINX_HTTP_CLIENT_MAX_BODY_SIZE"
        ),
        database=_one_of(env, "KONG_DATABASE", ("off", "postgres")),
        role=_one_of(env, "KONG_ROLE", ("traditional", "control_plane")),
        propagation=seconds(get("KONG_SANDBOX_PROPAGATION", "50ms"), "KONG_SANDBOX_PROPAGATION"),
        data_planes=_count(get("KONG_SANDBOX_DATA_PLANES", "2"), "KONG_SANDBOX_DATA_PLANES"),
        data_plane_delay=seconds(
            get("KONG_SANDBOX_DATA_PLANE_DELAY", "200ms"), "KONG_SANDBOX_DATA_PLANE_DELAY"
        ),
    )


def _one_of(env: Mapping[str, str], field: str, values: tuple[str, ...]) -> str:
    value = env.get(field) or values[0]
    if value not in values:
        raise ValueError(f"{field}: not there in the sandbox: {value!r} (write {' or '.join(values)})")
    return value


def _count(value: str, field: str) -> int:
    if not value.isdigit():
        raise ValueError(f"{field}: not a number: {value!r}")
    return int(value)


def _timeout(env: Mapping[str, str], which: str) -> float:
    field = f"KONG_NGINX_PROXY_LUA_SOCKET_{which}_TIMEOUT"
    return seconds(env.get(field) or "60s", field)
