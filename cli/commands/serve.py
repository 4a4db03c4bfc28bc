"""kgate serve: the plugin server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cli import exit_codes
from cli.report.lines import emit


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT; an IPv6 host stands in brackets. Raises click.BadParameter."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--metrics-listen")
    return host.strip("[]"), int(port)


@click.command(name="serve")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/run/kgate"),
    show_default=True,
    help="Folder of the sockets and of the plugins' info files; made 0750 where it is missing.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder where the control state is saved for a start without Redis; made 0700. Default: RUN_DIR/state. "
    "Choose one that outlives a reboot.",
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
    help="server.yaml: issuers, keys, Redis. `kgate render --server -o server.yaml` writes it. Read again on SIGHUP.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=os.cpu_count() or 1,
    help="Processes. Default: the cores.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.005, 10),
    default=0.05,
    show_default=True,
    help="Seconds that one decision may take; then the route's fail answer is given.",
)
@click.option(
    "--allow-uid", type=int, multiple=True, help="A user that may connect, beside root and this one."
)
@click.option("--allow-gid", type=int, multiple=True, help="A group whose members may connect.")
@click.option(
    "--group",
    metavar="NAME|GID",
    help="Group of Kong's workers: the run dir and the sockets are given to it, and its members may connect.",
)
@click.option(
    "--allow-inline-issuers",
    is_flag=True,
    help="Take trust anchors out of Kong's config (passport's inline_issuers). For tests and laptops only.",
)
@click.option(
    "--leases/--no-leases",
    default=True,
    help="Whether the adapter may give a user's verdict again for a few seconds without asking. Default: it may.",
)
@click.option(
    "--metrics-listen",
    metavar="HOST:PORT",
    help="Serve /healthz, /readyz and /metrics there, for example 127.0.0.1:9542. Default: nowhere.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-format", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def command(
    run_dir: Path,
    state_dir: Path | None,
    lane: str,
    config_path: Path | None,
    workers: int,
    deadline: float,
    allow_uid: tuple[int, ...],
    allow_gid: tuple[int, ...],
    group: str | None,
    allow_inline_issuers: bool,
    leases: bool,
    metrics_listen: str | None,
    log_level: str,
    log_format: str,
    output: str,
) -> None:
    """Serve the gate plugins to Kong on unix sockets.

    SIGHUP starts new workers with the config and code as they are then, and moves all connections to them.
    SIGTERM answers what is under way and ends.

    \b
    Examples:
      kgate serve --run-dir /run/kgate --config server.yaml
      kgate serve --run-dir /tmp/kgate --lane express --workers 1
      kgate serve --group 10542        # a group that Kong's container has, too
    """
    from kong_plugins.server import logs
    from kong_plugins.server.config import ServerConfigError
    from kong_plugins.server.options import Options
    from kong_plugins.server.peers import default_allowed
    from kong_plugins.server.run_dir import RunDirError, group_id
    from kong_plugins.server.serve import serve

    logs.configure(log_level, log_format)
    metrics = parse_listen(metrics_listen) if metrics_listen else None
    try:
        gid = None if group is None else group_id(group)
    except RunDirError as error:
        raise click.BadParameter(str(error), param_hint="--group") from error
    options = Options(
        run_dir=run_dir,
        config=config_path,
        workers=workers,
        deadline=deadline,
        log_level=log_level,
        log_format=log_format,
        allowed=default_allowed(allow_uid, allow_gid if gid is None else (*allow_gid, gid)),
        metrics=metrics,
        gid=gid,
        inline_issuers=allow_inline_issuers,
        state_dir=state_dir,
        leases=leases,
    )
    told = {"ready": True, "run_dir": str(run_dir), "lane": lane, "workers": workers, "pid": os.getpid()}
    line = f"serving lane {lane} in {run_dir} with {workers} workers (pid {os.getpid()})"
    try:
        serve(options, lane, lambda: emit(output, told, line))  # type: ignore[arg-type] # a click.Choice
    except (ServerConfigError, RunDirError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:  # the run dir's errors are RunDirErrors
        raise click.ClickException(
            f"{metrics_listen}: {error.strerror or error}; choose another port"
        ) from error
    except ValueError as error:
        raise click.ClickException(f"{config_path or 'server config'}: {error}") from error
    sys.exit(exit_codes.OK)
