"""kgate kong-env: the settings of a stock Kong."""

from __future__ import annotations

import json
import re
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
    "--group",
    default="kong",
    show_default=True,
    help="The sockets' group: what `kgate serve --group` is given, by its name where Kong runs.",
)
@click.option(
    "--format", "form", type=click.Choice(["env", "compose", "json"]), default="env", show_default=True
)
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", help="json: as --format json."
)
def command(run_dir: Path, lane: str, adapter_dir: Path | None, group: str, form: str, output: str) -> None:
    """Print every KONG_* setting that a stock Kong needs to run kgate.

    \b
    Examples:
      set -a; eval "$(kgate kong-env --lane express)"; set +a; kong start
      kgate kong-env --lane express --group gateway     # and: kgate serve --group gateway
      kgate kong-env --lane pdk --format compose --adapter-dir /opt/kgate/adapter
    """
    from kong_plugins.kong_env import ADAPTER_DIR, READ_TIMEOUT_MS, kong_env

    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", group):
        raise click.BadParameter("nginx takes a group's name, not its number", param_hint="--group")
    env = kong_env(run_dir, lane, adapter_dir or ADAPTER_DIR, group)  # type: ignore[arg-type] # a click.Choice
    told = (
        f"# start the plugin server with: kgate serve --run-dir {shlex.quote(str(run_dir))} --group {group}"
    )
    if lane == "pdk":
        note = f"note: the read timeout of {READ_TIMEOUT_MS} ms bounds all plugin servers of this Kong"
        click.echo(f"{note}: another one that takes longer then fails, and its requests pass", err=True)
    if form == "json" or output == "json":
        click.echo(json.dumps(env, indent=1))
        return
    click.echo(f"{told}{' (or its number: in Kong images 1000)' if group == 'kong' else ''}")
    if form == "compose":
        click.echo("environment:")
        for name, value in env.items():
            click.echo(f"  {name}: {json.dumps(value)}")
    else:
        for name, value in env.items():
            click.echo(f"{name}={shlex.quote(value)}")
