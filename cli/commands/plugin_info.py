"""kgate plugin-info: the files that Kong's query commands print."""

from __future__ import annotations

from pathlib import Path

import click

from cli.report.lines import emit


@click.command(name="plugin-info")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write <plugin>.json into.",
)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def command(run_dir: Path, output: str) -> None:
    """Write one JSON file a plugin, as Kong's pluginserver_*_query_cmd wants it.

    Kong can then start without Python: `query_cmd = cat RUN_DIR/<plugin>.json`.

    \b
    Example:
      kgate plugin-info --run-dir /run/kgate
    """
    from kong_plugins.server.run_dir import RunDirError, write_plugin_info

    try:
        written = write_plugin_info(run_dir)
    except RunDirError as error:
        raise click.ClickException(f"{error}; choose a folder that you may write with --run-dir") from error
    emit(output, {"written": [str(path) for path in written]}, *(f"wrote {path}" for path in written))
