"""The typed model: one value for everything that the files say, with each entity's place.

Entities stand in the tree in which Kong nests them, wherever the file wrote them: a top-level route that
names its service stands in that service here. `fields` are Kong's other fields, untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from decl.findings import Path

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plugin:
    """One instance. service, route and consumer name further scopes than the entity that it stands in."""

    name: str
    path: Path
    config: Fields
    fields: Fields
    service: str | None = None
    route: str | None = None
    consumer: str | None = None
    from_tenant: str | None = None

    @property
    def enabled(self) -> bool:
        """Kong skips an instance that is not enabled and takes the next wider scope's."""
        return bool(self.fields.get("enabled", True))


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `named` is False when the file gave it no name and it got a made one."""

    name: str
    path: Path
    fields: Fields
    plugins: tuple[Plugin, ...] = ()
    tags: tuple[str, ...] = ()
    named: bool = True


@dataclass(frozen=True, slots=True)
class Service:
    """One service with its `url` taken apart. One without a name is called by its id; `named` is False then."""

    name: str
    path: Path
    protocol: str
    host: str
    port: int
    fields: Fields
    tenant: str | None = None
    routes: tuple[Route, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    tags: tuple[str, ...] = ()
    named: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """One target of an upstream."""

    target: str
    path: Path
    fields: Fields
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream with its targets; only services of its tenant may use it, of any without one."""

    name: str
    path: Path
    fields: Fields
    targets: tuple[Target, ...] = ()
    tags: tuple[str, ...] = ()
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential; kind is Kong's list, `keyauth_credentials` and the like. key is the public text that
    tells it from the consumer's others (decl.file_kinds.CREDENTIALS), `#0` for its place where there is none.
    `fields` hold secrets."""

    kind: str
    key: str
    path: Path
    fields: Fields = field(repr=False)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consumer:
    """One consumer; name is its username, or its custom_id where it has no username."""

    name: str
    path: Path
    fields: Fields
    credentials: tuple[Credential, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """An entity that kgate passes on as it is: a certificate, a vault, a key ... (decl.file_kinds.PLAIN). `name`
    is what its id is made of; `children` stand in it, by list. `fields` may hold secrets."""

    kind: str
    name: str
    path: Path
    fields: Fields = field(repr=False)
    children: Mapping[str, tuple[Item, ...]] = field(default_factory=dict)
    plugins: tuple[Plugin, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tenant:
    """A group of services with one owner, one cluster (and a standby) and default plugins.

    limits is how many entities of a kind it may have; dns is the zone of its hosts, for fail-over. Its default
    fields stand in its services and routes already.
    """

    name: str
    path: Path
    cluster: str | None = None
    standby: str | None = None
    hosts: tuple[str, ...] = ()
    owner: str | None = None
    plugins: tuple[Plugin, ...] = ()
    tags: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    dns: Fields = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Kong nodes with the same config. timeout is seconds; run_dir is the plugin server's on the nodes.

    nodes are Admin API URLs, proxy are the proxies' for probes; `dns+http://` stands for all addresses of a
    name. gate says what must hold after a node got a new config.
    """

    name: str
    path: Path
    mode: str = "dbless"
    nodes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    proxy: tuple[str, ...] = ()
    strategy: str = "rolling"
    gate: Fields = field(default_factory=dict)
    timeout: float = 10.0
    run_dir: str = "/run/kgate"
    server: Fields = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    """What KONG_PLUGINS names on its nodes; () when the file does not say."""
    trusted_ips: tuple[str, ...] | None = None
    """What KONG_TRUSTED_IPS has on its nodes; None when the file does not say."""
    dns: Fields = field(default_factory=dict)
    """What DNS says of it: cname or addresses, ttl in seconds."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A trust anchor; `fields` is what the plugin server gets."""

    name: str
    path: Path
    fields: Fields


@dataclass(frozen=True, slots=True)
class Gateway:
    """Everything. `routes` are those without a service, `plugins` those of no service or route."""

    services: tuple[Service, ...] = ()
    routes: tuple[Route, ...] = ()
    plugins: tuple[Plugin, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    tenants: Mapping[str, Tenant] = field(default_factory=dict)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    issuers: tuple[Issuer, ...] = ()
    items: tuple[Item, ...] = ()
    select_tags: tuple[str, ...] = ()
    """Every entity has these tags; what does not is another owner's."""
    late: bool = False
    """Whether the files refer to secrets that are read late (decl.late)."""

    def all_routes(self) -> Iterator[tuple[Service | None, Route]]:
        """Every route with its service."""
        for service in self.services:
            for route in service.routes:
                yield service, route
        for route in self.routes:
            yield None, route

    def all_plugins(self) -> Iterator[tuple[Service | None, Route | None, Plugin]]:
        """Every plugin of services, routes and all requests with where it stands; not those of consumers."""
        for plugin in self.plugins:
            yield None, None, plugin
        for service in self.services:
            for plugin in service.plugins:
                yield service, None, plugin
        for owner, route in self.all_routes():
            for plugin in route.plugins:
                yield owner, route, plugin


def effective(gateway: Gateway, service: Service | None, route: Route) -> dict[str, Plugin]:
    """The plugins that run for a route before a consumer is known, by name.

    Kong takes one instance of a plugin, the most specific one that is enabled, whole.
    """
    found: dict[str, Plugin] = {}
    for plugins in (gateway.plugins, service.plugins if service else (), route.plugins):
        for plugin in plugins:
            if plugin.enabled and plugin.consumer is None:
                found[plugin.name] = plugin
    return found
