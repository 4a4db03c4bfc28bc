"""kgate failover"""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from cli import exit_codes
from cli.errors import FailedError, UsageError
from cli.nodes import client_of, nodes_of, resolver
from cli.options import file_option
from cli.project import sound_project
from cli.report.lines import emit
from decl import dns
from decl.failover import Check, check_node
from decl.model import Cluster, Gateway, Tenant
from decl.nodes import resolve
from decl.probe import seen
from decl.render import render
from decl.yaml_text import to_yaml


@click.command(name="failover")
@file_option
@click.argument("tenant")
@click.option("--to", "cluster", help="The cluster that takes over: the tenant's standby, or its own.")
@click.option("--back", is_flag=True, help="Go back to the tenant's own cluster.")
@click.option(
    "--format", "form", type=click.Choice(["octodns", "zone"]), default="octodns", show_default=True
)
@click.option(
    "--write",
    "where",
    type=click.Path(path_type=Path),
    help="OctoDNS: the folder with ZONE.yaml files, in which the records are replaced. Zone: a file of its own.",
)
@click.option("--force", is_flag=True, help="Give the change although a check failed.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    tenant: str,
    cluster: str | None,
    back: bool,
    form: str,
    where: Path | None,
    force: bool,
    output: str,
) -> int:
    """Move TENANT to another cluster by DNS.

    First the cluster is checked: every node answers and holds the tenant's config as the files say it, its
    database is there, each upstream has a target that gets requests, and the proxies that the file names have
    the adapter. Then the DNS records of the tenant's hosts are printed, and with --write put into files.
    Nothing is published: that is your DNS tool's work.

    \b
    Examples:
      kgate failover order --to standard
      kgate failover order --to standard --write dns/ && octodns-sync --doit
      kgate failover order --back --format zone

    Exit codes: 0 done, 1 a check failed and nothing was written, 2 wrong usage, 4 errors in the files.
    """
    _, gateway = sound_project(ctx, files, output)
    found, target = _chosen(gateway, tenant, cluster, back)
    try:
        records, skipped = dns.records(found, target)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not records:
        raise UsageError(f"tenant {tenant!r} has no hosts that DNS can name")
    checks = _checks(gateway, target, tenant)
    ok = all(check.ok for check in checks)
    texts = _texts(records, form, where if ok or force else None)
    if form == "zone" and where is not None:
        _only_ours(where, records)
    written = [str(path) for path in _written(texts, form, where)] if ok or force else []
    shown = "\n".join(f"# {name}\n{text}" if form == "octodns" else text for name, text in texts.items())
    data = {
        "version": 1,
        "tenant": tenant,
        "cluster": target.name,
        "ready": ok,
        "checks": [check._asdict() for check in checks],
        "records": [record._asdict() for record in records] if ok or force else [],
        "skipped_hosts": list(skipped),
        "written": written,
    }
    lines = [f"{'ok ' if c.ok else 'NOT'} {c.node}: {c.what}: {c.detail}" for c in checks]
    for line in lines if output == "human" else ():
        click.echo(line, err=True)
    if form == "zone" and any(record.kind == "ALIAS" for record in records):
        click.echo(
            "ALIAS is no standard type: not every DNS server knows it; dns.addresses does without", err=True
        )
    for host in skipped:
        click.echo(f"host {host!r} has no DNS name of its own: change it by hand", err=True)
    if not ok and not force:
        emit(output, data)
        raise FailedError(f"cluster {target.name!r} is not ready for tenant {tenant!r}; nothing was written")
    emit(output, data, *([f"wrote {', '.join(written)}"] if written else [shown.rstrip("\n")]))
    return exit_codes.OK


def _chosen(gateway: Gateway, name: str, cluster: str | None, back: bool) -> tuple[Tenant, Cluster]:
    tenant = gateway.tenants.get(name)
    if tenant is None:
        known = ", ".join(sorted(gateway.tenants)) or "none"
        raise UsageError(f"there is no tenant {name!r}; the files have {known}")
    if back == (cluster is not None):
        raise UsageError("say where to: --to CLUSTER, or --back for the tenant's own cluster")
    wanted = tenant.cluster if back else cluster
    allowed = [one for one in (tenant.standby, tenant.cluster) if one]
    if wanted not in allowed:
        raise UsageError(f"tenant {name!r} is rendered for {' and '.join(allowed) or 'no cluster'} only")
    return tenant, gateway.clusters[str(wanted)]


def _checks(gateway: Gateway, cluster: Cluster, tenant: str) -> list[Check]:
    try:
        whole = render(gateway, cluster.name).resolved(resolver())
    except ValueError as error:
        raise FailedError(str(error)) from error
    checks: list[Check] = []
    for node in nodes_of(cluster):
        with client_of(cluster, node) as client:
            checks += check_node(client, gateway, whole, tenant)
    try:
        proxies = resolve(cluster.proxy)
    except ValueError as error:
        return [*checks, Check(cluster.name, "proxy", False, str(error))]
    for proxy in proxies:
        live = seen(proxy.url) is not None
        checks.append(Check(proxy.url, "adapter", live, "answers" if live else "does not answer"))
    return checks


def _texts(records: tuple[dns.Record, ...], form: str, folder: Path | None) -> dict[str, str]:
    """What is written, by file name."""
    if form == "zone":
        return {"zone": "\n".join(dns.zone_lines(records)) + "\n"}
    zones = {}
    for zone in {record.zone for record in records}:
        path = folder / f"{zone}.yaml" if folder is not None else None
        if path is None or not path.exists():
            continue
        try:
            zones[zone] = yaml.safe_load(path.read_bytes()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise FailedError(f"cannot read {path}: {error}") from error
        if not isinstance(zones[zone], dict):
            raise FailedError(f"{path} is no OctoDNS zone: expected a map of names")
    found = dns.octodns(records, zones)
    return {f"{zone}.yaml": "---\n" + to_yaml(content) for zone, content in found.items()}


def _only_ours(path: Path, records: tuple[dns.Record, ...]) -> None:
    """A file is replaced whole: none with other records is. Raises FailedError."""
    ours = {line.split("\t")[0] for line in dns.zone_lines(records)}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise FailedError(f"cannot read {path}: {error.strerror}") from error
    if any(line.split(maxsplit=1)[0] not in ours for line in lines if line.strip()):
        raise FailedError(
            f"{path} holds more than these records, and is left as it is; write them to a file of their own, which "
            "the zone takes in by $INCLUDE"
        )


def _written(texts: dict[str, str], form: str, where: Path | None) -> list[Path]:
    if where is None:
        return []
    paths = []
    try:
        if form == "octodns":
            where.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = where / name if form == "octodns" else where
            temporary = path.with_name(f".{path.name}.new")
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
            paths.append(path)
    except OSError as error:
        raise FailedError(f"cannot write {where}: {error.strerror}") from error
    return paths
