"""kgate sandbox: the stand-in Kong for previews and tests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import exit_codes

if TYPE_CHECKING:
    from sandbox.app import Sandbox

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
    "config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Declarative configuration to start with, in Kong's format (what `kgate render` writes).",
)
@click.option("--trusted-ips", default="", help="Addresses and CIDR blocks whose X-Forwarded-* are believed.")
@click.option("--real-ip-header", default="X-Real-IP", show_default=True)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Log each configuration and upstream failure too.")
def command(
    run_dir: Path,
    lane: str,
    proxy_listen: str,
    admin_listen: str,
    config: Path | None,
    trusted_ips: str,
    real_ip_header: str,
    output: str,
    verbose: bool,
) -> None:
    """Run a stand-in Kong on loopback: proxy, Admin API, and the adapter's Lua in LuaJIT.

    KONG_* variables of the environment that the options do not set are read as stock Kong reads them.

    \b
    Examples:
      kgate plugin-info --run-dir /tmp/kgate && kgate sandbox --run-dir /tmp/kgate
      kgate sandbox --run-dir /tmp/kgate --lane express -f kong.json
      kgate sandbox --run-dir /tmp/kgate --proxy-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --output json
    """
    try:
        from sandbox.app import Sandbox
        from sandbox.lua_runtime import PluginLoadError
        from sandbox.validate import InvalidConfig
    except ModuleNotFoundError as e:
        click.echo(f"error: {e.name} is missing: pip install 'kgate[sandbox]'", err=True)
        raise SystemExit(exit_codes.FAILED) from e
    from kong_plugins.kong_env import kong_env

    env = {
        **{name: value for name, value in os.environ.items() if name.startswith("KONG_")},
        **kong_env(run_dir, lane),  # type: ignore[arg-type] # a click.Choice
        "KONG_PROXY_LISTEN": proxy_listen,
        "KONG_ADMIN_LISTEN": admin_listen,
        "KONG_TRUSTED_IPS": trusted_ips,
        "KONG_REAL_IP_HEADER": real_ip_header,
    }
    if config:
        env["KONG_DECLARATIVE_CONFIG"] = str(config)
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(Sandbox(env), output))
    except InvalidConfig as e:
        _fail(f"{config}: {e}")
    except PluginLoadError as e:
        _fail(str(e))
    except OSError as e:
        _fail(_os_error(e, proxy_listen, admin_listen))
    except ValueError as e:
        _fail(f"{config}: {e}" if config and "KONG_" not in str(e) else str(e))


def _fail(message: str) -> None:
    click.echo(f"error: {message}", err=True)
    raise SystemExit(exit_codes.FAILED)


def _os_error(e: OSError, proxy: str, admin: str) -> str:
    if e.filename:
        return f"{e.filename}: {e.strerror}"
    return f"cannot listen on {proxy} (--proxy-listen) or {admin} (--admin-listen): {e.strerror or e}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _run(sandbox: Sandbox, output: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    await sandbox.start()
    if output == "json":
        line = {"proxy": sandbox.proxy_url, "admin": sandbox.admin_url, "pid": os.getpid(), "notice": NOTICE}
        click.echo(json.dumps(line))
    else:
        click.echo(NOTICE)
        click.echo(f"proxy {sandbox.proxy_url}  admin {sandbox.admin_url}  pid {os.getpid()}")
    await stop.wait()
    await sandbox.stop()
