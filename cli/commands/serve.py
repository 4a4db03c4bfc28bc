"""kgate serve: the plugin server."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from cli import exit_codes
from cli.report.lines import emit

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


@click.command(name="serve")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/kgate"),
    show_default=True,
    help="Folder of the sockets and of the plugins' info files; made 0750 where it is missing.",
)
@click.option(
    "--lane",
    type=click.Choice(["pdk", "express", "both"]),
    default="both",
    show_default=True,
    help="Which lanes to serve. The express socket is open in each: it also carries prepared answers.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="server.yaml: issuers, keys, Redis. `kgate render --server -o server.yaml` writes it.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def command(run_dir: Path, lane: str, config_path: Path | None, log_level: str, output: str) -> None:
    """Serve the gate plugins to Kong on unix sockets.

    \b
    Examples:
      kgate serve --run-dir /run/kgate --config server.yaml
      kgate serve --run-dir /tmp/kgate --lane express
    """
    from kong_plugins.server.config import ServerConfigError, load
    from kong_plugins.server.worker import RunDirError, Worker, close_sockets, open_sockets, write_plugin_info
    from kong_plugins.state.base import StoreError

    logging.basicConfig(level=log_level.upper(), format=FORMAT, stream=sys.stderr)
    try:
        config = load(config_path, os.environ)
        write_plugin_info(run_dir)
        sockets = open_sockets(run_dir, lane)  # type: ignore[arg-type] # click has checked the choice
    except (ServerConfigError, RunDirError) as error:
        raise click.ClickException(str(error)) from error
    try:
        Worker(config, run_dir, sockets).run(
            ready=lambda: emit(
                output,
                {"ready": True, "run_dir": str(run_dir), "lane": lane, "pid": os.getpid()},
                f"serving lane {lane} in {run_dir} (pid {os.getpid()})",
            )
        )
    except (RunDirError, StoreError, ValueError) as error:
        raise click.ClickException(f"{config_path or 'server config'}: {error}") from error
    finally:
        close_sockets(sockets, run_dir)
    sys.exit(exit_codes.OK)
