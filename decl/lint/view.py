"""What lint rules look at: the expanded gateway, with what several rules need worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from decl.kong.entities import STREAM
from decl.model import Cluster, Consumer, Gateway, Plugin, Route, Service
from decl.settings import Settings
from decl.source import Sources

PROTECTED_TAG = "kgate-protected"

AUTHENTICATION = frozenset(
    (
        "passport",
        "basic-auth",
        "hmac-auth",
        "jwt",
        "key-auth",
        "ldap-auth",
        "mtls-auth",
        "oauth2",
        "openid-connect",
    )
)
"""Plugins that ask who it is."""


class RouteView(NamedTuple):
    """A route with its service, and the plugins that run for it before a consumer is known, by name."""

    service: Service | None
    route: Route
    plugins: Mapping[str, Plugin]

    @property
    def tenant(self) -> str | None:
        """The tenant's name, if any."""
        return self.service.tenant if self.service is not None else None

    @property
    def stream(self) -> str | None:
        """The protocol of a route that is not HTTP's; Kong takes no route of both."""
        return next((each for each in self.route.fields.get("protocols") or () if each in STREAM), None)

    @property
    def is_protected(self) -> bool:
        """Whether a passport is required here."""
        passport = self.plugins.get("passport")
        return passport is not None and is_required(passport)


class Placed(NamedTuple):
    """A plugin instance with where it stands."""

    plugin: Plugin
    service: Service | None = None
    route: Route | None = None
    consumer: Consumer | None = None


class State(NamedTuple):
    """What the control state says, where a lint run may ask it. Times are Unix seconds.

    overrides: when each canary's override was changed. changed: when each file was. endless: blocks without
    an end, as an operator writes them.
    """

    overrides: Mapping[str, float]
    changed: Mapping[str, float]
    endless: tuple[str, ...] = ()


class View:
    """An expanded gateway for rules. today: the date as YYYY-MM-DD, "" when dates shall not be looked at."""

    def __init__(
        self,
        gateway: Gateway,
        settings: Settings | None = None,
        sources: Sources | None = None,
        today: str = "",
        state: State | None = None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        known_plugins: frozenset[str] = frozenset(),
    ) -> None:
        self.gateway = gateway
        self.settings = settings or Settings()
        self.sources = sources
        self.today = today
        self.state = state
        self.known_plugins = known_plugins
        self._defaults = defaults or {}

    def option(self, rule: str, name: str) -> Any:
        """A rule's option: the user's value or the rule's own."""
        return self.settings.options.get(rule, {}).get(name, self._defaults[rule][name])

    @cached_property
    def routes(self) -> tuple[RouteView, ...]:
        """Every route with the plugins that run for it: one instance a name, the most specific enabled one."""
        found = []
        everywhere = _by_name(self.gateway.plugins)
        for service in self.gateway.services:
            of_service = {**everywhere, **_by_name(service.plugins)}
            for route in service.routes:
                plugins = {**of_service, **_by_name(route.plugins)} if route.plugins else of_service
                found.append(RouteView(service, route, plugins))
        for route in self.gateway.routes:
            found.append(RouteView(None, route, {**everywhere, **_by_name(route.plugins)}))
        return tuple(found)

    @cached_property
    def plugins(self) -> tuple[Placed, ...]:
        """Every plugin instance, those of consumers included; a tenant's once for each of its services."""
        gateway = self.gateway
        placed = [Placed(plugin, service, route) for service, route, plugin in gateway.all_plugins()]
        placed += [Placed(p, consumer=consumer) for consumer in gateway.consumers for p in consumer.plugins]
        return tuple(placed)

    @cached_property
    def own_plugins(self) -> tuple[Placed, ...]:
        """Every plugin instance of the files once: a tenant's stands in its first service."""
        return tuple({placed.plugin.path: placed for placed in reversed(self.plugins)}.values())[::-1]

    @cached_property
    def by_name(self) -> Mapping[str, tuple[Placed, ...]]:
        """The instances in `own_plugins` by the plugin's name."""
        found: dict[str, list[Placed]] = {}
        for placed in self.own_plugins:
            found.setdefault(placed.plugin.name, []).append(placed)
        return {name: tuple(items) for name, items in found.items()}

    def clusters_of(self, service: Service | None) -> tuple[Cluster, ...]:
        """The clusters that get a service."""
        clusters = self.gateway.clusters
        tenant = self.gateway.tenants.get(service.tenant or "") if service is not None else None
        if tenant is None or tenant.cluster is None:
            return tuple(clusters.values())
        names = (tenant.cluster, tenant.standby)
        return tuple(clusters[name] for name in names if name is not None and name in clusters)


def is_required(passport: Plugin) -> bool:
    """Whether a passport instance lets nobody without a token pass."""
    return (passport.config.get("mode") or "required") == "required"


def has_several_nodes(cluster: Cluster) -> bool:
    """Whether the files show more than one proxy; with a database one Admin API may stand for many."""
    urls = (*cluster.nodes, *cluster.proxy)
    return max(len(cluster.nodes), len(cluster.proxy)) > 1 or any(url.startswith("dns+") for url in urls)


def _by_name(plugins: tuple[Plugin, ...]) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in plugins if plugin.enabled and plugin.consumer is None}
