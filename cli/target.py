"""The cluster that a command talks to: its rendered config, its nodes, its lock and its history."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import FailedError, UsageError
from cli.nodes import client_of, resolver
from cli.project import chosen_cluster, sound_project
from decl.admin import AdminClient, AdminError
from decl.blobs import Blobs, FileBlobs, RedisBlobs
from decl.compare import Last, Seen, compare_db, compare_dbless
from decl.flatten import Flat, flatten
from decl.history import History
from decl.lock import Backend, FileLock, RedisLock, TagLock
from decl.model import Cluster, Gateway
from decl.nodes import NodeUrl, resolve
from decl.render import Rendered, render
from decl.source import Sources

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Target:
    """tags: only entities with all of them are ours (DB mode)."""

    name: str
    settings: Cluster
    nodes: tuple[NodeUrl, ...]
    rendered: Rendered
    sources: Sources
    tags: tuple[str, ...] = ()
    gateway: Gateway | None = None
    ignore: tuple[str, ...] = ()
    """`kind.field` names that are not compared (DB mode)."""
    redis: str | None = None
    history_folder: Path | None = None
    named: tuple[str, ...] = ()
    """The URLs of --node, which stand for the cluster's."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _clients: dict[str, AdminClient] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        """dbless, db or hybrid."""
        return self.settings.mode

    def clients(self) -> list[AdminClient]:
        """A client for each node, kept until `close`."""
        for node in self.nodes:
            if node.url not in self._clients:
                self._clients[node.url] = self._stack.enter_context(client_of(self.settings, node))
        return [self._clients[node.url] for node in self.nodes]

    def resolve_again(self) -> None:
        """Look the nodes' names up anew, where they have names: some may have come. Raises FailedError."""
        urls = self.named or self.settings.nodes
        if any(url.startswith("dns+") for url in urls):
            self.nodes = tuple(_resolved(urls))

    def proxies(self) -> list[str]:
        """The proxies' URLs, where the file names them."""
        return [node.url for node in _resolved(self.settings.proxy)]

    def own_proxies(self) -> dict[str, str]:
        """The proxy of each node by the node's URL; nothing where the file does not name one for each."""
        try:
            nodes, proxies = _resolved(self.settings.nodes), self.proxies()
        except FailedError:
            return {}
        if len(nodes) != len(proxies):
            return {}
        return {node.url: proxy for node, proxy in zip(nodes, proxies, strict=True)}

    def wanted(self) -> Flat:
        """The entities that the config is made of."""
        return flatten(self.rendered.document, self.tags)

    def compare(self, last: Last = lambda: None, details: bool = True) -> Seen:
        """The config against the live nodes. Raises AdminError."""
        if self.mode == "dbless":
            return compare_dbless(self.clients(), self.rendered, last, details)
        return compare_db(self.clients(), self.wanted(), self.tags, last, self.ignore)

    def history(self) -> History:
        """Where applies are noted."""
        return History(self._blobs(), self.name, self.tags)

    def _blobs(self) -> Blobs:
        if self.redis is not None:
            return RedisBlobs(_redis(self.redis), f"kgate:decl:{self.name}")
        return FileBlobs(self.folder)

    @property
    def folder(self) -> Path:
        """Of the history, where there is no Redis."""
        if self.history_folder is not None:
            return self.history_folder
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        return Path(base) / "kgate"

    def lock(self) -> Backend:
        """The lock of the cluster: Redis, else the Kong database, else this machine."""
        if self.redis is not None:
            return RedisLock(_redis(self.redis), f"kgate:decl:{self.name}:lock")
        if self.mode != "dbless":
            return TagLock(self._reachable())
        return FileLock(self.folder / f"{self.name}.lock")

    def _reachable(self) -> AdminClient:
        """The first node that answers; the first one when none does."""
        for client in self.clients():
            try:
                client.get("/status")
            except AdminError:
                continue
            return client
        return self.clients()[0]

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()


def _redis(url: str) -> Any:
    import redis

    try:
        return redis.Redis.from_url(url, socket_timeout=5)
    except ValueError as error:
        raise UsageError(f"--redis: {error}") from error


def _resolved(urls: Sequence[str]) -> list[NodeUrl]:
    try:
        return resolve(urls)
    except ValueError as error:
        raise FailedError(str(error)) from error


def target_options(command: F) -> F:
    """Options --cluster, --node, --select-tag, --redis and --history."""
    options = (
        click.option("--cluster", help="The cluster that is meant; needed when the files have several."),
        click.option(
            "--node", "nodes", multiple=True, help="Admin API URL, in place of the cluster's nodes."
        ),
        click.option(
            "--select-tag",
            "tags",
            multiple=True,
            help="Only entities with all of these tags are ours (DB mode); added to what the files say.",
        ),
        click.option(
            "--redis", envvar="REDIS_URL", help="Keep lock and history in this Redis.  [env: REDIS_URL]"
        ),
        click.option(
            "--history",
            "history_folder",
            envvar="KGATE_HISTORY",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the history, without Redis.  [env: KGATE_HISTORY; default: ~/.local/state/kgate]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def open_target(
    ctx: click.Context,
    files: tuple[Path, ...],
    output: str,
    cluster: str | None,
    nodes: Sequence[str],
    tags: Sequence[str],
    redis: str | None,
    history_folder: Path | None,
) -> Target:
    """The target of a command, with its secrets resolved; it is closed with the command. Raises UsageError."""
    project, gateway = sound_project(ctx, files, output)
    name = chosen_cluster(gateway, cluster)
    known = gateway.clusters.get(name)
    settings = known or Cluster(name, ())
    try:
        rendered = render(gateway, name).resolved(resolver())
    except ValueError as error:
        raise FailedError(str(error)) from error
    urls = _urls(settings, nodes)
    target = Target(
        name,
        settings,
        tuple(_resolved(urls)),
        rendered,
        project.sources,
        gateway=gateway,
        redis=redis,
        history_folder=history_folder,
        named=tuple(nodes),
    )
    ctx.call_on_close(target.close)
    if known is None:
        target.settings = replace(settings, mode=_mode(target))
    if target.mode != "dbless":
        target.tags = tuple(dict.fromkeys((*gateway.select_tags, *tags)))
    return target


def _mode(target: Target) -> str:
    """How the nodes of a cluster that no file describes keep their config, by the first that answers."""
    for client in target.clients():
        try:
            return client.mode()
        except AdminError:
            continue
    return "dbless"  # the command will tell that they are away


def _urls(cluster: Cluster, nodes: Sequence[str]) -> tuple[str, ...]:
    urls = tuple(nodes) or cluster.nodes
    if not urls:
        raise UsageError(
            f"cluster {cluster.name!r} has no nodes; name them in the file (clusters.{cluster.name}.nodes) "
            "or with --node http://HOST:8001"
        )
    for url in urls:
        if not url.removeprefix("dns+").startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no Admin API URL; write --node http://HOST:8001")
    return urls


def holder() -> str:
    """Who runs this, for the lock and the history."""
    return f"{os.environ.get('KGATE_ACTOR') or _user()}@{socket.gethostname()} pid {os.getpid()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def revision() -> str:
    """The git revision of the working directory, "" outside of one; with a + when something is not committed."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def unix_time() -> float:
    """The time of the history's entries."""
    return time.time()
