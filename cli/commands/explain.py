"""kgate explain: what the gateway would do with a request, and which rule decides."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import click

from cli.errors import UsageError
from cli.operate import StoreAt, opened, store_options
from cli.options import file_option
from cli.report import state as report
from cli.token_text import read_token
from kong_plugins.state.addresses import parse_address


@click.command(name="explain")
@click.argument("reason", required=False)
@click.option("--url", help="The whole URL, as the client sends it.")
@click.option(
    "--ip", default="192.0.2.1", show_default=True, help="The client's address, after Kong's realip."
)
@click.option("--token", help="The client's bearer token, or @FILE.")
@click.option("--method", default="GET", show_default=True)
@click.option("--header", "-H", "headers", multiple=True, help="A header as 'Name: value'; may be repeated.")
@click.option(
    "--jwks", multiple=True, help="Keys as FILE, or as ISSUER=FILE; else the files' jwks_url is asked."
)
@click.option("--cluster", help="The cluster; needed when the files have several.")
@file_option
@store_options
@click.pass_context
def command(
    ctx: click.Context,
    reason: str | None,
    url: str | None,
    ip: str,
    token: str | None,
    method: str,
    headers: tuple[str, ...],
    jwks: tuple[str, ...],
    cluster: str | None,
    files: tuple[Path, ...],
    at: StoreAt,
    output: str,
) -> None:
    """Say what the gateway would do with a request: route, filters, and which rule decides. Or what a REASON id of a
    refusal, a log or an event says.

    The route is found in the rendered files by Kong's order of precedence, the real filters run on the live state
    in Redis, and a token is really verified. Nothing is sent to a service, and no limit counts it; what limits
    refuse is known for as long as `kgate limits list` shows it.

    \b
    Examples:
      kgate explain rate_limited
      kgate explain --url https://shop.example.com/cart --ip 203.0.113.7
      kgate explain --url https://shop.example.com/cart --token @token.txt --jwks jwks.json
      kgate explain --url https://shop.example.com/cart --method POST -H "User-Agent: badbot" --output json

    Exit codes: 0 explained (whatever the verdict is), 1 Redis is away, 2 wrong usage, 4 errors in the files.
    """
    from cli import explain as explaining
    from cli.files import read_project
    from cli.project import chosen_cluster, sound_project
    from cli.revoked import revocations_behind
    from decl.findings import has_errors
    from kong_plugins.state.operations import live

    if (reason is None) == (url is None):
        raise UsageError("give --url for a request, or a REASON id (like rate_limited)")
    if reason is not None:
        _reason(reason, output)
        return
    assert url is not None
    try:
        parse_address(ip)
    except ValueError as error:
        raise UsageError(f"--ip: {error}") from error
    sent = tuple(_header(text) for text in headers)
    if token is not None:
        sent += (("Authorization", f"Bearer {read_token(token)}"),)
    project = read_project(ctx, files)
    gateway = project.gateway
    if gateway is None or has_errors(project.findings):
        project, gateway = sound_project(ctx, files, output)  # tells them, and ends the command
    name = chosen_cluster(gateway, cluster)
    asked = explaining.Asked(url, method.upper(), ip, sent)
    found = explaining.locate(gateway, name, asked)
    with opened(at) as store:
        snapshot, now, limited = live.snapshot(store, at.namespace), store.now(), store.limited()
        revoked = revocations_behind(store, sent)
    if found is None:
        if output == "json":
            click.echo(
                report.dump({"route": None, "status": 404, "rule": "no_route", "version": snapshot.version})
            )
        else:
            click.echo("no route matches: Kong answers 404, no plugin of a route runs")
        return
    base = Path(project.sources.files[0].name).parent
    fetch = any(key.lower() == "authorization" for key, _ in sent) and "passport" in found.plugins
    trust, missing = explaining.trust_of(gateway, name, base, _jwks(jwks), fetch)
    made = explaining.explain(found, snapshot, trust, now, limited)
    why = " ".join(filter(None, (made.why, revoked.get(made.rule))))
    made = made._replace(why=why, notes=(*made.notes, *missing))
    if output == "json":
        click.echo(
            report.dump(
                {
                    "route": found.route.name,
                    "service": found.service.name if found.service else None,
                    "tenant": found.facts.tenant or None,
                    "ip": found.facts.ip,
                    "version": snapshot.version,
                    **made._asdict(),
                    "steps": [step._asdict() for step in made.steps],
                }
            )
        )
        return
    tenant = f" of tenant {found.facts.tenant}" if found.facts.tenant else ""
    service = f"service {found.service.name}" if found.service else "no service"
    click.echo(f"route {found.route.name}, {service}{tenant}; control state {snapshot.version}")
    for number, step in enumerate(made.steps, 1):
        rule = f" [{step.rule}]" if step.rule else ""
        click.echo(f"  {number}. {step.plugin}: {step.outcome}{rule}  {report.printable(step.why)}")
    for note in made.notes:
        click.echo(f"  note: {report.printable(note)}")
    if made.status is not None:
        click.echo(f"answered {made.status} by {made.plugin}, rule {made.rule}: {report.printable(made.why)}")
    else:
        click.echo(f"passes: {report.printable(made.why)}")


def _reason(name: str, output: str) -> None:
    from cli.reasons import REASONS

    found = REASONS.get(name)
    if found is None:
        near = get_close_matches(name, REASONS, 3, 0.5)
        more = f"; did you mean {', '.join(near)}?" if near else ""
        raise UsageError(f"{name!r} is no reason id of the gateway{more}")
    if output == "json":
        click.echo(report.dump({"reason": name, **found._asdict()}))
        return
    status = f"answered {found.status}" if found.status is not None else "the request goes on"
    click.echo(f"{name} ({found.plugin}, {status}): {found.meaning}\nsee: {found.see}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"--header {text!r}: write it as 'Name: value'")
    return name.strip(), value.strip()


def _jwks(texts: tuple[str, ...]) -> dict[str, str]:
    named = {}
    for text in texts:
        name, equals, file = text.partition("=")
        named[name if equals else ""] = file if equals else text
    return named
