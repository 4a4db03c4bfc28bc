"""kgate doctor"""

from __future__ import annotations

import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import click

from cli import exit_codes
from cli.doctor.look_kong import look_at_node, look_at_proxy
from cli.doctor.look_local import adapter_folders, look_at_adapter, look_at_machine, worker_of
from cli.doctor.look_prefix import look_at_prefix
from cli.doctor.look_state import look_at_keys, look_at_redis, look_at_server
from cli.doctor.model import ERROR, OK, SKIPPED, WARNING, Result, World
from cli.doctor.registry import examine
from cli.errors import UsageError
from cli.nodes import client_of, nodes_of
from cli.operate import parse_ttl
from cli.options import FILES_KEY, file_option
from cli.project import chosen_cluster, sound_project
from cli.report import json as json_report
from decl.model import Cluster
from decl.nodes import resolve

_MARKS = {OK: "ok  ", WARNING: "warn", ERROR: "FAIL", SKIPPED: "-   "}
_DEFAULT_NODE = "http://127.0.0.1:8001"


@click.command(name="doctor")
@file_option
@click.option("--cluster", help="The cluster of the files that is meant.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="URL",
    help=f"Admin API. [default: the cluster's, or {_DEFAULT_NODE}]",
)
@click.option(
    "--proxy", "proxies", multiple=True, metavar="URL", help="Proxy, to see whether the adapter answers."
)
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Prefix of a Kong on this machine, whose settings are read there: a data plane has no Admin API.",
)
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The plugin server's folder on this machine.  [default: the cluster's, or what Kong's adapter has]",
)
@click.option(
    "--no-local", is_flag=True, help="Kong and the plugin server are on other machines: look at no folder."
)
@click.option(
    "--adapter-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The adapter's folder.  [default: where Kong's lua_package_path says, if that is on this machine]",
)
@click.option(
    "--kong-group",
    metavar="NAME|GID",
    help="A group of Kong's workers.  [default: their processes are looked at]",
)
@click.option("--server", "servers", multiple=True, metavar="URL", help="A plugin server's --metrics-listen.")
@click.option(
    "--redis", envvar="REDIS_URL", metavar="URL", help="Redis of the control state.  [env: REDIS_URL]"
)
@click.option("--redis-ca", envvar="REDIS_CA", type=click.Path(dir_okay=False), help="PEM for rediss://.")
@click.option("--namespace", envvar="KGATE_NAMESPACE", default="default", show_default=True)
@click.option("--max-key-age", default="90d", show_default=True, help="How long one key may sign: 90d, 12h.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="What makes exit 4.",
)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    cluster: str | None,
    nodes: tuple[str, ...],
    proxies: tuple[str, ...],
    prefixes: tuple[Path, ...],
    run_dir: Path | None,
    no_local: bool,
    adapter_dir: Path | None,
    kong_group: str | None,
    servers: tuple[str, ...],
    redis: str | None,
    redis_ca: str | None,
    namespace: str,
    max_key_age: str,
    fail_on: str,
    output: str,
) -> int:
    """Look at a whole installation, and say of each failure what to do.

    It looks at Kong (version, settings, plugins, priorities, timeouts, trusted_ips, other plugin servers), at the
    adapter (its files, its version, whether it answers), at the plugin server (sockets and who may connect,
    readiness), at Redis (eviction policy), at clocks and at the age of keys. It changes nothing. What it cannot see
    is skipped, with a word on how to show it.

    \b
    Examples:
      kgate doctor
      kgate doctor -f gateway.yaml --cluster critical --redis redis://redis:6379/0
      kgate doctor --node http://kong-1:8001 --proxy http://kong-1:8000 --server http://kgate-1:9542 --no-local
      kgate doctor --node http://control-plane:8001 --prefix /usr/local/kong    # on a data plane
      kgate doctor --output json --fail-on warning

    Exit codes: 0 nothing to mend, 1 nothing could be reached, 2 wrong usage, 4 findings.
    """
    settings = _cluster(ctx, files, cluster, output)
    where = settings or Cluster("default", ())
    if settings is None and not nodes and not prefixes:
        nodes = (_DEFAULT_NODE,)
    world = World(
        version=metadata.version("kgate"),
        trusted_ips=where.trusted_ips,
        max_key_age=_seconds(max_key_age),
    )
    world = _kong(world, where, nodes, proxies, prefixes)
    if not no_local:
        world = _machine(world, run_dir or _run_dir(world, settings), adapter_dir, kong_group)
        if run_dir is not None and world.local is not None:
            world = world._replace(local=world.local._replace(named=True))
    for url in servers:
        _http(url, "--server")
    world = world._replace(servers=[look_at_server(url.rstrip("/")) for url in servers])
    if redis is not None:
        try:
            world = world._replace(
                redis=look_at_redis(redis, redis_ca), keys=look_at_keys(redis, namespace, redis_ca)
            )
        except ValueError as error:
            raise UsageError(f"--redis: {error}") from error
    return _tell(world, examine(world), output, fail_on)


def _cluster(ctx: click.Context, files: tuple[Path, ...], cluster: str | None, output: str) -> Cluster | None:
    """The cluster of the files; None when no file was named."""
    if not files and not ctx.find_root().ensure_object(dict).get(FILES_KEY) and cluster is None:
        return None
    _, gateway = sound_project(ctx, files, output)
    name = chosen_cluster(gateway, cluster)
    return gateway.clusters.get(name, Cluster(name, ()))


def _kong(
    world: World,
    where: Cluster,
    nodes: tuple[str, ...],
    proxies: tuple[str, ...],
    prefixes: tuple[Path, ...],
) -> World:
    seen = [look_at_prefix(prefix) for prefix in prefixes]
    for node in nodes_of(where, nodes) if nodes or where.nodes or not prefixes else ():
        with client_of(where, node) as client:
            seen.append(look_at_node(client, time.time))
    for url in proxies:
        _http(url, "--proxy")
    named = proxies or where.proxy
    try:
        found = [look_at_proxy(each.url) for each in resolve(named)] if named else []
    except ValueError as error:
        raise UsageError(f"--proxy: {error}") from error
    return world._replace(nodes=seen, proxies=found)


def _machine(world: World, run_dir: Path, adapter_dir: Path | None, kong_group: str | None) -> World:
    try:
        worker = worker_of(world.known, kong_group)
    except LookupError as error:
        raise UsageError(f"--kong-group: there is no group {kong_group!r} here; give its number") from error
    serving = [node for node in world.known if node.role != "control_plane"]
    pdk = any(not node.express for node in serving)
    express = any(node.express for node in world.known) or not world.known
    return world._replace(
        local=look_at_machine(run_dir, pdk, worker),
        adapters=[look_at_adapter(folder, express) for folder in adapter_folders(world.known, adapter_dir)],
    )


def _run_dir(world: World, settings: Cluster | None) -> Path:
    """The cluster's; without a file, that of the socket which Kong's adapter is configured with."""
    told = next((node.socket for node in world.known if node.socket), None)
    return (
        Path(told).parent if settings is None and told else Path((settings or Cluster("default", ())).run_dir)
    )


def _http(url: str, option: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{option}: {url!r} is no URL; write http://HOST:PORT")


def _seconds(text: str) -> float:
    try:
        found = parse_ttl(text).seconds
    except UsageError:
        found = None
    if found is None:
        raise UsageError(f"--max-key-age {text!r}: write a number and s, m, h or d, like 90d")
    return found


def _tell(world: World, results: list[Result], output: str, fail_on: str) -> int:
    counts = Counter(result.status for result in results)
    if output == "json":
        told = {"version": json_report.VERSION, "reached": world.reached, "counts": dict(counts)}
        click.echo(json_report.dump({**told, "results": [result._asdict() for result in results]}))
    else:
        for result in results:
            target = f"{result.target}: " if result.target else ""
            click.echo(f"{_MARKS[result.status]}  {result.check:<15} {target}{result.said}")
            if result.do:
                click.echo(f"{'':<22}-> {result.do}")
        click.echo(
            f"{counts[OK]} ok, {counts[WARNING]} warnings, {counts[ERROR]} failures, {counts[SKIPPED]} not looked at"
        )
    if not world.reached:
        return exit_codes.FAILED
    findings = counts[ERROR] + (counts[WARNING] if fail_on == "warning" else 0)
    return exit_codes.FINDINGS if findings else exit_codes.OK
