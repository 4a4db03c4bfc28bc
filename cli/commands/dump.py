"""kgate dump"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from cli.errors import FailedError, UsageError
from cli.nodes import client_of, nodes_of
from cli.options import file_option
from cli.project import chosen_cluster
from cli.report.lines import emit
from decl.admin import AdminError
from decl.dump import dump
from decl.dump_tenants import complete
from decl.live import read_live, schemas_of, without_tags
from decl.model import Cluster, Tenant
from decl.yaml_text import to_yaml


@click.command(name="dump")
@file_option
@click.option("--cluster", help="The cluster of the files whose first node is read.")
@click.option("--node", "nodes", multiple=True, help="Admin API URL, in place of the cluster's first node.")
@click.option(
    "--select-tag",
    "tags",
    multiple=True,
    help="Only entities with all of these tags; the file says so (_info).",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A file, or with --per-tenant a folder; not to stdout.",
)
@click.option("--per-tenant", is_flag=True, help="One file a tenant, and gateway.yaml for the rest.")
@click.option(
    "--secrets",
    type=click.Choice(["env", "clear"]),
    default="env",
    show_default=True,
    help="env: write `!env NAME` for each secret; clear: write them, into files that only you can read.",
)
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    cluster: str | None,
    nodes: tuple[str, ...],
    tags: tuple[str, ...],
    out: Path | None,
    per_tenant: bool,
    secrets: str,
    output: str,
) -> None:
    """Write what a live Kong holds as tidy files, which make the same config again.

    What kgate rendered comes back in its source form: without the adapter, default deny and made ids, with
    tenants, their hosts, owner and common plugins. What no node holds of a tenant (cluster, standby, limits, dns)
    is taken from the files, where they have it. Defaults of the server are left out. Passwords of which Kong has only
    the hash are `!env NAME` also with --secrets clear.

    \b
    Examples:
      kgate dump --node http://127.0.0.1:8001
      kgate dump --cluster critical --per-tenant -o gateway/
      kgate dump --node http://127.0.0.1:8001 --select-tag team-order -o order.yaml

    Exit codes: 0 done, 1 the node cannot be read, 2 wrong usage.
    """
    if secrets == "clear" and out is None:
        raise UsageError("--secrets clear needs a file: -o FILE")
    if per_tenant and out is None:
        raise UsageError("--per-tenant needs a folder: -o FOLDER")
    settings, tenants = _known(ctx, files, cluster, nodes)
    node = nodes_of(settings, nodes)[0]
    with client_of(settings, node) as client:
        try:
            flat = read_live(client, tags)
            document, variables = dump(flat, schemas_of(client), secrets, tags)
            missed = without_tags(client, flat, tags) if tags else []
        except AdminError as error:
            raise FailedError(f"{error}; is the Admin API reachable from here?") from error
    complete(document.get("tenants", ()), tenants)
    parts = _per_tenant(document) if per_tenant else {"": document}
    if out is None:
        emit(output, document, to_yaml(document).rstrip("\n"))
    else:
        written = _write(out, parts, per_tenant, private=secrets == "clear")
        data = {"version": 1, "files": written, "variables": list(variables)}
        emit(output, data, f"wrote {', '.join(written)}")
    if missed:
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        click.echo(
            f"left out, for want of the tags: {', '.join(missed[:3])}{more}; --per-tenant has all of a tenant",
            err=True,
        )
    if variables:
        click.echo(f"set these before you render: {', '.join(variables)}", err=True)


def _known(
    ctx: click.Context, files: tuple[Path, ...], cluster: str | None, nodes: tuple[str, ...]
) -> tuple[Cluster, Mapping[str, Tenant]]:
    """The cluster, and the tenants that the files have."""
    if nodes and not files and cluster is None:
        return Cluster("default", ()), {}
    from cli.files import read_project

    project = read_project(ctx, files, rules=False)
    if project.gateway is None:
        raise FailedError("the files have errors, see kgate validate; or name a node with --node")
    name = chosen_cluster(project.gateway, cluster)
    return project.gateway.clusters.get(name, Cluster(name, ())), project.gateway.tenants


def _per_tenant(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each tenant's part by its name, the rest under ""."""
    rest = dict(document)
    parts: dict[str, dict[str, Any]] = {"": rest}
    for tenant in rest.pop("tenants", ()):
        parts[tenant["name"]] = {"_format_version": document["_format_version"], "tenants": [tenant]}
    for kind in ("services", "upstreams"):
        left = []
        for entity in document.get(kind, ()):
            part = parts.get(entity.get("tenant", ""))
            if part is None or part is rest:
                left.append(entity)
            else:
                part.setdefault(kind, []).append(entity)
        rest.pop(kind, None)
        if left:
            rest[kind] = left
    return parts


def _file_names(tenants: Iterable[str]) -> dict[str, str]:
    """Of tenants and "", no two the same, on any file system."""
    names = {"": "gateway.yaml"}
    for tenant in tenants:
        name = f"{tenant}.yaml"
        while tenant and name.casefold() in {taken.casefold() for taken in names.values()}:
            name = f"tenant-{name}"
        names.setdefault(tenant, name)
    return names


def _write(out: Path, parts: dict[str, dict[str, Any]], folder: bool, private: bool) -> list[str]:
    written = []
    names = _file_names(parts)
    try:
        if folder:
            out.mkdir(parents=True, exist_ok=True)
        for name, document in parts.items():
            path = out / names[name] if folder else out
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                if private:
                    os.fchmod(file.fileno(), 0o600)  # it may have been there, for all to read
                file.write(to_yaml(document))
            written.append(str(path))
    except (OSError, yaml.YAMLError) as error:
        raise FailedError(f"cannot write {out}: {error}") from error
    return written
