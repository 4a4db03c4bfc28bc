"""The sandbox as objects: a node that starts and stops with a set of KONG_* settings, and several of them."""

from __future__ import annotations

import asyncio
import errno
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.admin import Admin
from sandbox.balancer import addresses, targets_of
from sandbox.database import Database
from sandbox.declarative import load_bytes, load_file
from sandbox.listener import Server
from sandbox.settings import load
from sandbox.store import Store
from sandbox.worker import Shared, Worker

log = logging.getLogger("sandbox")
MAX_WORKERS = 16


class PortTaken(OSError):
    """A listen address that cannot be used. variable: the KONG_* setting that names it."""

    def __init__(self, variable: str, address: tuple[str, int], why: OSError) -> None:
        super().__init__(why.errno, why.strerror or str(why))
        self.variable, self.address = variable, address

    @property
    def in_use(self) -> bool:
        """Another process listens there."""
        return self.errno == errno.EADDRINUSE


class Sandbox:
    """A stand-in Kong node.

    settings: KONG_* variables, as stock Kong reads them. Raises ValueError on a bad setting.
    `start` raises PluginLoadError on a plugin that does not load, PortTaken when it cannot listen.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = load(settings)
        self._shared = Shared(str(uuid.uuid4()), _workers(settings))
        _no_tls(settings)
        self.proxy_url = ""
        self.admin_url = ""
        self.workers: list[Worker] = []
        self.database: Database | None = None
        self.cluster: Sequence[Sandbox] = (self,)
        """All nodes on the same database; a node without one is alone."""

    async def start(self, database: Database | None = None, config: bytes | None = None) -> None:
        """Load plugins, take the configuration or the declarative file if one is set, listen.

        database: of the cluster, in DB mode.
        """
        settings, shared = self.settings, self._shared
        self.workers = [Worker(settings, shared, number) for number in range(shared.workers)]
        self.schemas = self.workers[0].schemas
        for worker in self.workers:
            worker.start()
        if database is None and settings.database != "off":
            database = Database(self.schemas)
        self.database = database
        self._admin = Admin(
            settings, self.schemas, shared.node_id, self._apply, database=database, health=shared.health
        )
        self._proxy_server = Server(*(worker.proxy.handle for worker in self.workers))
        self._admin_server = Server(self._admin.handle)
        if config is not None:
            self._admin.store = load_bytes(config, self.schemas)
        elif settings.declarative_config:
            self._admin.store = load_file(settings.declarative_config, self.schemas)
        self.use(self._admin.store)
        address = await _listen(self._proxy_server, "KONG_PROXY_LISTEN", settings.proxy_listen)
        for worker in self.workers:
            worker.proxy.listener = address
        self.proxy_url = _url(*address)
        try:
            self.admin_url = _url(
                *await _listen(self._admin_server, "KONG_ADMIN_LISTEN", settings.admin_listen)
            )
        except OSError:
            await self._proxy_server.stop()
            raise

    async def stop(self) -> None:
        """Let running requests end, close everything."""
        await self._proxy_server.stop()
        await self._admin_server.stop()
        self._admin.close()
        await self._shared.health.close()
        for worker in self.workers:
            await worker.close()
        await asyncio.sleep(0)  # aborted transports end in the next turn of the loop

    def reload(self, data: bytes) -> None:
        """Take a declarative configuration. Raises InvalidConfig, ValueError; the old one stays then."""
        store = load_bytes(data, self.schemas)
        self._admin.store = store
        self._apply(store)

    def watch(self, seen: Callable[[Mapping[str, Any]], None]) -> None:
        """Give `seen` the log record of each request from now on."""
        for worker in self.workers:
            worker.proxy.watch = seen

    def _apply(self, store: Store) -> None:
        for node in self.cluster:
            node.use(store)

    def use(self, store: Store) -> None:
        """Make a configuration the one in force, in all workers."""
        upstreams = {u["name"]: u for u in store.all("upstreams")}
        targets = targets_of(upstreams.values(), store.all("targets"))
        self._shared.health.configure(upstreams, addresses(targets))
        for worker in self.workers:
            worker.use(store)


def _workers(settings: Mapping[str, str]) -> int:
    value = settings.get("KONG_NGINX_WORKER_PROCESSES") or "1"
    if value == "auto":
        return 1
    if not value.isdigit() or not 1 <= int(value) <= MAX_WORKERS:
        raise ValueError(f"KONG_NGINX_WORKER_PROCESSES: not 1 to {MAX_WORKERS}: {value!r}")
    return int(value)


def _no_tls(settings: Mapping[str, str]) -> None:
    for name in ("KONG_PROXY_LISTEN", "KONG_ADMIN_LISTEN"):
        first = (settings.get(name) or "").split(",")[0].split()
        for option in ("ssl", "http2", "proxy_protocol"):
            if option in first[1:]:
                raise ValueError(f"{name}: '{option}' is not part of the sandbox: write host:port alone")


async def _listen(server: Server, variable: str, address: tuple[str, int]) -> tuple[str, int]:
    try:
        return await server.start(*address)
    except OSError as e:
        raise PortTaken(variable, address, e) from e


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
