"""kgate schema"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

import schemas
from cli.errors import FailedError
from cli.files import read_project
from cli.nodes import client_of, nodes_of
from cli.options import file_option
from cli.project import chosen_cluster
from cli.report.lines import emit
from decl import pack
from decl.admin import AdminError
from decl.model import Cluster

DEFAULT_FOLDER = ".kgate/schemas"


@click.group(name="schema")
def command() -> None:
    """The schemas that plugin configs are checked by."""


@command.command(name="pull")
@file_option
@click.option("--cluster", help="The cluster whose node is asked; needed when the files have several.")
@click.option("--node", "nodes", multiple=True, help="Admin API URL, in place of the cluster's first node.")
@click.option(
    "--out",
    "-o",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    show_default=True,
    help="The folder of the pack; commit it.",
)
@click.option("--plugin", "plugins", multiple=True, help="Only this plugin; may be given several times.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def pull(
    ctx: click.Context,
    files: tuple[Path, ...],
    cluster: str | None,
    nodes: tuple[str, ...],
    folder: Path,
    plugins: tuple[str, ...],
    output: str,
) -> None:
    """Fetch the plugin schemas of a live node into a folder of the repository.

    Name the folder in .kgate.yaml (`schemas: .kgate/schemas`): then the configs of all plugins that the nodes
    have are checked offline, own and third-party ones included. Plugins that the node no longer has leave the
    pack.

    \b
    Examples:
      kgate schema pull --cluster critical
      kgate schema pull --node http://127.0.0.1:8001 --plugin my-plugin

    Exit codes: 0 done, 1 the node cannot be asked, 2 wrong usage.
    """
    settings = _cluster(ctx, files, cluster, nodes)
    node = nodes_of(settings, nodes)[0]
    found: dict[str, str] = {}
    with client_of(settings, node) as client:
        try:
            enabled = client.get("/plugins/enabled").get("enabled_plugins") or ()
            wanted = sorted(plugins or (name for name in enabled if isinstance(name, str)))
            with ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(lambda name: client.schema(f"plugins/{name}"), wanted))
        except AdminError as error:
            raise FailedError(f"{error}; is the Admin API reachable from here?") from error
    for name, schema in zip(wanted, answers, strict=True):
        if schema is None:
            raise FailedError(f"{node.url} has no plugin {name!r}")
        if name in schemas.GATE_PLUGINS:
            continue  # ours know more than the node tells
        try:
            found[name] = pack.text(schema)
        except ValueError as error:
            raise FailedError(f"{node.url}: {name}: {error}") from error
    removed = _write(folder, found, whole=not plugins)
    data = {"version": 1, "folder": str(folder), "plugins": sorted(found), "removed": removed}
    gone = f", removed {', '.join(removed)}" if removed else ""
    emit(output, data, f"wrote {len(found)} schemas to {folder}{gone}")


def _cluster(
    ctx: click.Context, files: tuple[Path, ...], cluster: str | None, nodes: tuple[str, ...]
) -> Cluster:
    """The cluster to ask: of the files where there are any, else just the nodes that are named."""
    if nodes and not files and cluster is None:
        return Cluster("default", ())
    project = read_project(ctx, files, rules=False)
    if project.gateway is None:
        raise FailedError("the files have errors, see kgate validate; or name a node with --node")
    name = chosen_cluster(project.gateway, cluster)
    return project.gateway.clusters.get(name, Cluster(name, ()))


def _write(folder: Path, found: dict[str, str], whole: bool) -> list[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in found.items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
        old = [path for path in sorted(folder.glob("*.json")) if whole and path.stem not in found]
        for path in old:
            path.unlink()
    except OSError as error:
        raise FailedError(f"cannot write {folder}: {error.strerror}") from error
    return [path.stem for path in old]
