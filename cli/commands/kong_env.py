"""kgate kong-env: the settings of a stock Kong."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
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
    metavar="NAME|GID",
    default="kong",
    show_default=True,
    help="The sockets' group, as for `kgate serve --group`. A name: nginx gives it to Kong's workers, where root "
    "starts Kong. A number: the container that Kong runs in must have it (`group_add`).",
)
@click.option(
    "--role",
    type=click.Choice(["traditional", "control_plane", "data_plane"]),
    default="traditional",
    show_default=True,
    help="What the node is in a hybrid Kong; traditional: it is none.",
)
@click.option(
    "--control-plane",
    metavar="HOST:PORT",
    default="kong-cp:8005",
    show_default=True,
    help="With --role data_plane: where the control plane is.",
)
@click.option(
    "--cluster-cert",
    default="/etc/kong/cluster.crt",
    show_default=True,
    help="With a hybrid role: the shared certificate; its key is beside it (.key).",
)
@click.option(
    "--format", "form", type=click.Choice(["env", "compose", "json"]), default="env", show_default=True
)
@click.option(
    "--output", type=click.Choice(["human", "json"]), default="human", help="json: as --format json."
)
def command(
    run_dir: Path,
    lane: str,
    adapter_dir: Path | None,
    group: str,
    role: str,
    control_plane: str,
    cluster_cert: str,
    form: str,
    output: str,
) -> None:
    """Print every KONG_* setting that a stock Kong needs to run kgate.

    \b
    Examples:
      set -a; eval "$(kgate kong-env --lane express)"; set +a; kong start
      kgate kong-env --lane express --group gateway     # and: kgate serve --group gateway
      kgate kong-env --lane pdk --format compose --adapter-dir /opt/kgate/adapter --group 10542
      kgate kong-env --lane express --role data_plane --control-plane cp.internal:8005
    """
    from kong_plugins.kong_env import ADAPTER_DIR, READ_TIMEOUT_MS, Hybrid, kong_env

    numeric = group.isascii() and group.isdigit()
    if not numeric and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", group):
        raise click.BadParameter(
            f"{group!r} is neither the name of a group nor its number", param_hint="--group"
        )
    if numeric and form == "env" and output == "human":
        raise click.BadParameter("nginx takes a group's name, not its number", param_hint="--group")
    hybrid = Hybrid(control_plane, cluster_cert, str(Path(cluster_cert).with_suffix(".key")))
    env = kong_env(run_dir, lane, adapter_dir or ADAPTER_DIR, group, role, hybrid)  # type: ignore[arg-type] # Choices
    told = (
        f"# start the plugin server with: kgate serve --run-dir {shlex.quote(str(run_dir))} --group {group}"
    )
    if role == "control_plane":
        needs = (
            f"kgate plugin-info --run-dir {shlex.quote(str(run_dir))}" if lane == "pdk" else "nothing of it"
        )
        told = f"# no plugin server runs beside a control plane: {needs} is needed there"
    if lane == "pdk":
        note = f"note: the read timeout of {READ_TIMEOUT_MS} ms bounds all plugin servers of this Kong"
        click.echo(f"{note}: another one that takes longer then fails, and its requests pass", err=True)
        others = other_plugin_servers(os.environ)
        if others:
            click.echo(
                f"warning: this environment names other plugin servers ({', '.join(others)}); KONG_PLUGINSERVER_NAMES"
                " replaces them: add their names to it, and see that they answer within "
                f"{READ_TIMEOUT_MS} ms, or use --lane express",
                err=True,
            )
    if form == "json" or output == "json":
        click.echo(json.dumps(env, indent=1))
        return
    click.echo(told)
    if form == "compose":
        click.echo("environment:")
        for name, value in env.items():
            click.echo(f"  {name}: {json.dumps(value)}")
        if numeric:
            click.echo(f"group_add: [{json.dumps(group)}]")
    else:
        for name, value in env.items():
            click.echo(f"{name}={shlex.quote(value)}")


def other_plugin_servers(environ: Mapping[str, str]) -> list[str]:
    """Plugin servers that the settings name and that are not ours: our read timeout would bound them, too."""
    from kong_plugins.engine.registry import PLUGINS

    named = [name.strip() for name in environ.get("KONG_PLUGINSERVER_NAMES", "").split(",")]
    return [name for name in named if name and name not in PLUGINS]
