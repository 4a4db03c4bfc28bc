"""kgate kong-env: the settings of a stock Kong."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click


@click.command(name="kong-env")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/kgate"),
    show_default=True,
    help="Folder of the plugin server's sockets, as Kong sees it.",
)
@click.option("--lane", type=click.Choice(["pdk", "express"]), default="pdk", show_default=True)
@click.option(
    "--adapter-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the adapter's Lua, as Kong sees it (in a container: where it is mounted).",
)
@click.option(
    "--format", "form", type=click.Choice(["env", "compose", "json"]), default="env", show_default=True
)
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", help="json: as --format json."
)
def command(run_dir: Path, lane: str, adapter_dir: Path | None, form: str, output: str) -> None:
    """Print every KONG_* setting that a stock Kong needs to run kgate.

    \b
    Examples:
      set -a; eval "$(kgate kong-env --lane express)"; set +a; kong start
      kgate kong-env --lane pdk --format compose --adapter-dir /opt/kgate/adapter
    """
    from kong_plugins.kong_env import ADAPTER_DIR, READ_TIMEOUT_MS, kong_env

    env = kong_env(run_dir, lane, adapter_dir or ADAPTER_DIR)  # type: ignore[arg-type] # a click.Choice
    if form == "json" or output == "json":
        click.echo(json.dumps(env, indent=1))
    elif form == "compose":
        click.echo("environment:")
        for name, value in env.items():
            click.echo(f"  {name}: {json.dumps(value)}")
    else:
        for name, value in env.items():
            click.echo(f"{name}={shlex.quote(value)}")
    if lane == "pdk":
        click.echo(
            f"note: the read timeout of {READ_TIMEOUT_MS} ms bounds all plugin servers of this Kong",
            err=True,
        )
