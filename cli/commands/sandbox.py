"""kgate sandbox: the stand-in Kong for previews and tests."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import click

from cli import exit_codes
from cli.errors import FailedError, UsageError
from cli.options import FILES_KEY

NOTICE = "kgate sandbox: a preview and test tool, not Kong; never use it for production traffic"


@click.command(name="sandbox")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/kgate"),
    show_default=True,
    help="Folder of the plugin server's sockets and info files.",
)
@click.option("--lane", type=click.Choice(["pdk", "express"]), default="pdk", show_default=True)
@click.option("--proxy-listen", default="127.0.0.1:8000", show_default=True, help="Port 0 takes a free port.")
@click.option("--admin-listen", default="127.0.0.1:8001", show_default=True, help="Port 0 takes a free port.")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Configuration to start with: kgate's files, or Kong's own format (what `kgate render` writes). "
    "Once for all nodes, or once for each.",
)
@click.option("--cluster", help="The cluster to render, when kgate's files have several.")
@click.option(
    "--workers", type=click.IntRange(1, 16), default=1, show_default=True, help="Lua states a node."
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 8),
    default=1,
    show_default=True,
    help="Each has its own configuration and ports: the second one's are 100 higher, and so on.",
)
@click.option("--watch", is_flag=True, help="Take the files again when they change; show each request.")
@click.option("--log", "show", is_flag=True, help="Show each request, without --watch too.")
@click.option("--trusted-ips", default="", help="Addresses and CIDR blocks whose X-Forwarded-* are believed.")
@click.option("--real-ip-header", default="X-Real-IP", show_default=True)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Log each configuration and upstream failure too.")
@click.pass_context
def command(
    ctx: click.Context,
    run_dir: Path,
    lane: str,
    proxy_listen: str,
    admin_listen: str,
    files: tuple[Path, ...],
    cluster: str | None,
    workers: int,
    nodes: int,
    watch: bool,
    show: bool,
    trusted_ips: str,
    real_ip_header: str,
    output: str,
    verbose: bool,
) -> None:
    """Run a stand-in Kong on loopback: proxy, Admin API, and the adapter's Lua in LuaJIT.

    KONG_* variables of the environment that the options do not set are read as stock Kong reads them. With
    --watch a changed file is taken at once; a file with an error is told and the old configuration stays.

    \b
    Examples:
      kgate plugin-info --run-dir /tmp/kgate && kgate sandbox --run-dir /tmp/kgate
      kgate sandbox --run-dir /tmp/kgate --lane express -f gateway.yaml --watch
      kgate sandbox --run-dir /tmp/kgate --workers 2 --nodes 2 -f a.json -f b.json
      kgate sandbox --run-dir /tmp/kgate --proxy-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --output json

    Exit codes: 0 stopped by a signal, 1 it could not start (a port is taken, say), 2 wrong usage.
    """
    try:
        from cli.sandbox_run import Run, run
    except ModuleNotFoundError as e:
        raise FailedError(f"{e.name} is missing: pip install 'kgate[sandbox]'") from e
    from kong_plugins.kong_env import express_socket, kong_env

    files = (*ctx.find_root().ensure_object(dict).get(FILES_KEY, ()), *files)
    if len(files) not in (0, 1, nodes):
        raise UsageError(f"-f: once for all nodes or once for each of {nodes}, not {len(files)} times")
    if watch and not files:
        raise UsageError("--watch: there is nothing to watch; name the configuration with -f")
    env = {
        **{name: value for name, value in os.environ.items() if name.startswith("KONG_")},
        **kong_env(run_dir, lane),  # type: ignore[arg-type] # a click.Choice
        "KONG_PROXY_LISTEN": proxy_listen,
        "KONG_ADMIN_LISTEN": admin_listen,
        "KONG_TRUSTED_IPS": trusted_ips,
        "KONG_REAL_IP_HEADER": real_ip_header,
    }
    if workers > 1 or "KONG_NGINX_WORKER_PROCESSES" not in env:
        env["KONG_NGINX_WORKER_PROCESSES"] = str(workers)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    settings = Run(env, nodes, files, cluster, express_socket(run_dir), watch, watch or show, output, NOTICE)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        raise SystemExit(runner.run(run(settings)) or exit_codes.OK)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
