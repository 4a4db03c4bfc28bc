"""kgate render"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from cli.errors import FailedError, UsageError
from cli.nodes import resolver
from cli.options import file_option
from cli.project import chosen_cluster, sound_project
from cli.report import json as json_report
from decl.render import render
from decl.secret_fields import masked
from decl.server_config import server_yaml


@click.command(name="render")
@file_option
@click.option("--cluster", help="The cluster to render; needed when the files have several.")
@click.option("--tenant", help="Render this tenant's services only, to look at them; not for pushing.")
@click.option("--server", is_flag=True, help="Write server.yaml for `kgate serve` in place of Kong's config.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to stdout."
)
@click.option(
    "--output",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    help="json: the exact bytes that sync pushes; human: the same document, indented.",
)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    cluster: str | None,
    tenant: str | None,
    server: bool,
    out: Path | None,
    output: str,
) -> None:
    """Print the Kong config that the files make for one cluster.

    It is plain Kong config, format 3.0: every entity has its id, tenants are written out, the adapter is
    added. A file written with -o holds the bytes that `kgate sync` pushes; a DB-less node can boot from it
    (`declarative_config`). Secrets (`!env`, `!file`) are read for such a file only, which is then yours alone
    to read; on a terminal secret fields are masked.

    \b
    Examples:
      kgate render
      kgate render --cluster critical -o kong.json
      kgate render --server -o server.yaml

    Exit codes: 0 done, 2 wrong usage, 4 errors in the files.
    """
    _, gateway = sound_project(ctx, files, output)
    if tenant is not None and tenant not in gateway.tenants:
        known = ", ".join(sorted(gateway.tenants)) or "none"
        raise UsageError(f"there is no tenant {tenant!r}; the files have {known}")
    name = chosen_cluster(gateway, cluster)
    if server:
        _write(server_yaml(gateway, name).encode(), out, output, name, private=True)
        return
    try:
        rendered = render(gateway, name, tenant).with_bodies(resolver())
    except ValueError as error:
        raise FailedError(str(error)) from error
    if out is None and output == "human":
        shown = masked(rendered.document)
        click.echo(json.dumps(shown, ensure_ascii=False, indent=2, sort_keys=True))
        return
    if out is None and rendered.late:
        raise UsageError("the config has secrets (!env, !file), which are not printed; write it with -o FILE")
    try:
        rendered = rendered.resolved(resolver())
    except ValueError as error:
        raise FailedError(str(error)) from error
    _write(rendered.content, out, output, name, config_hash=rendered.hash, private=gateway.late)


def _write(
    content: bytes, out: Path | None, output: str, cluster: str, config_hash: str = "", private: bool = False
) -> None:
    if out is None:
        click.echo(content.decode("utf-8").rstrip("\n"))
        return
    target = out.resolve()  # a link stays a link
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if out.exists() and not out.is_file():
            out.write_bytes(content)  # a device or a pipe: it must not be replaced
            return
        # a reader sees the old file or the new one; server.yaml may name secrets
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FailedError(f"cannot write {out}: {error.strerror}") from error
    if output == "json":
        result = {"version": json_report.VERSION, "file": str(out), "cluster": cluster, "bytes": len(content)}
        click.echo(json_report.dump({**result, "hash": config_hash} if config_hash else result))
    else:
        click.echo(
            f"wrote {out} ({len(content)} bytes{', hash ' + config_hash if config_hash else ''})", err=True
        )
