"""What a whole installation looked like, and what a check says of it. Checks are pure: all looking is done before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

Status = Literal["ok", "warning", "error", "skipped"]
OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
SKIPPED: Final = "skipped"


class Result(NamedTuple):
    """What one check says of one thing. do: what to do about it, or for what is skipped how to have it looked at."""

    check: str
    target: str
    status: Status
    said: str
    do: str = ""


class Node(NamedTuple):
    """One Admin API, or the prefix of a Kong without one (`prefix` in info). info: what `GET /` answered, None with
    `error`; status is its HTTP status. skew: seconds
    that its clock is ahead. plugins: its plugin instances, None where they could not be read. planes: the data planes
    of a control plane, with `silent`: seconds since they were heard of."""

    url: str
    info: Mapping[str, Any] | None = None
    error: str = ""
    status: int | None = None
    skew: float | None = None
    plugins: Sequence[Mapping[str, Any]] | None = None
    planes: Sequence[Mapping[str, Any]] | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """Kong's settings, empty when they are not known."""
        found = (self.info or {}).get("configuration")
        return found if isinstance(found, Mapping) else {}

    @property
    def role(self) -> str:
        """traditional, control_plane or data_plane."""
        return str(self.settings.get("role") or "traditional")

    @property
    def socket(self) -> str | None:
        """The plugin server's socket that the adapter is configured with."""
        for plugin in self.plugins or ():
            config = plugin.get("config")
            if plugin.get("name") == "kgate" and isinstance(config, Mapping) and config.get("socket"):
                return str(config["socket"])
        return None

    @property
    def express(self) -> bool:
        """Whether the gate plugins are Lua plugins there; else they are external ones."""
        return "/express/" in str(self.settings.get("lua_package_path") or "")

    @property
    def available(self) -> Mapping[str, Any]:
        """What each plugin that is loaded tells of itself: version and priority."""
        plugins = (self.info or {}).get("plugins")
        found = plugins.get("available_on_server") if isinstance(plugins, Mapping) else None
        return found if isinstance(found, Mapping) else {}


class Proxy(NamedTuple):
    """What `/.kgate/probe` of one proxy answered: the hash of the adapter's config."""

    url: str
    hash: str | None = None
    error: str = ""


class Entry(NamedTuple):
    """A folder or a file of the run dir."""

    path: Path
    mode: int
    uid: int
    gid: int


class Socket(NamedTuple):
    """One socket. entry is None where there is none; error says why it does not answer."""

    name: str
    path: Path
    entry: Entry | None = None
    error: str = ""


class Who(NamedTuple):
    """Who Kong's workers run as."""

    uid: int
    gids: frozenset[int]


class Local(NamedTuple):
    """What is on this machine. folder: the run dir, None where it is not there. worker: of Kong, if it is known.
    named: whether --run-dir said that it must be here."""

    run_dir: Path
    folder: Entry | None = None
    sockets: Sequence[Socket] = ()
    worker: Who | None = None
    error: str = ""
    named: bool = False


class Adapter(NamedTuple):
    """An installed Lua folder against the package's: files that are missing, other, or not the package's."""

    path: Path
    missing: Sequence[str] = ()
    changed: Sequence[str] = ()
    extra: Sequence[str] = ()
    there: bool = True


class Redis(NamedTuple):
    """The control state's Redis. skew: seconds that its clock is ahead."""

    address: str
    error: str = ""
    version: str = ""
    policy: str | None = None
    role: str = ""
    used: int = 0
    limit: int = 0
    skew: float | None = None


class Key(NamedTuple):
    """A key that signs passports. age: seconds since it signs."""

    kid: str
    state: str
    age: float


class Server(NamedTuple):
    """What a plugin server's health port told."""

    url: str
    error: str = ""
    ready: Mapping[str, Any] | None = None
    version: str | None = None
    metrics: Mapping[str, float] = {}


class World(NamedTuple):
    """Everything that was looked at. None: not asked for. trusted_ips: what the file says of the cluster's nodes.
    version: this kgate's. max_key_age is seconds."""

    nodes: Sequence[Node] = ()
    proxies: Sequence[Proxy] = ()
    local: Local | None = None
    adapters: Sequence[Adapter] = ()
    redis: Redis | None = None
    keys: Sequence[Key] | None = None
    servers: Sequence[Server] = ()
    version: str = ""
    trusted_ips: Sequence[str] | None = None
    max_key_age: float = 90 * 86_400.0

    @property
    def known(self) -> list[Node]:
        """The nodes that told their settings."""
        return [node for node in self.nodes if node.info is not None]

    @property
    def kongs(self) -> list[Node]:
        """Those that are Kong, and not the sandbox: it has no plugin servers' settings and no versions of plugins."""
        return [node for node in self.known if not (node.info or {}).get("sandbox")]

    @property
    def reached(self) -> bool:
        """Whether anything at all answered."""
        local = self.local is not None and self.local.folder is not None
        redis = self.redis is not None and not self.redis.error
        servers = any(not server.error for server in self.servers)
        return bool(self.known) or local or redis or servers or any(proxy.hash for proxy in self.proxies)
