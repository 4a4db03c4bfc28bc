"""kgate passport: revoke tokens, and look into tokens and passports."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from cli import token_text
from cli.errors import UsageError
from cli.operate import (
    Notes,
    StoreAt,
    change_options,
    end_options,
    opened,
    output_option,
    parse_moment,
    store_options,
)
from cli.report import state as report
from kong_plugins.state.operations import revocations
from kong_plugins.state.revocations import Revocation


@click.group(name="passport")
def command() -> None:
    """Revoke tokens that are good by their signature, and look into tokens and passports.

    A revocation reaches every plugin server within a second: the plugin passport then refuses the token and issues
    no passport for it.
    """


def _which(command: Any) -> Any:
    """Options that name what is revoked."""
    for option in (
        click.option("--before", help="All tokens issued before a moment: now, Unix seconds or ISO 8601."),
        click.option("--subject", help="All tokens of this subject (sub)."),
        click.option("--token-id", help="One token by its id (jti)."),
        click.option("--token", help="One token itself, or @FILE: its iss and jti are taken, unverified."),
        click.option("--issuer", default="", help="The issuer (iss) of the token, subject or tokens."),
    ):
        command = option(command)
    return command


@command.command()
@_which
@change_options
@store_options
def revoke(
    issuer: str,
    token: str | None,
    token_id: str | None,
    subject: str | None,
    before: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Refuse a token, all tokens of a subject, or all that an issuer issued before a moment.

    It lasts 30 days without a --ttl: give the longest life of a token.

    \b
    Examples:
      kgate passport revoke --issuer https://auth.example.com --token-id 4711 --reason "phone lost"
      kgate passport revoke --issuer https://auth.example.com --subject alice --ttl 1d
      kgate passport revoke --issuer https://auth.example.com --before now --reason "key leaked"
      kgate passport revoke --token @token.txt
    """
    kind, issuer, value = _named(issuer, token, token_id, subject, before)
    with opened(at) as store:
        moment = None
        if before is not None:
            now = store.now()
            moment = _moment(before, now)
            if not 0 < moment <= now:
                raise UsageError(
                    f"--before {before!r}: is in the future: tokens not issued yet would be refused"
                )
        made = revocations.revoke(store, kind, issuer, value, issued_before=moment, **notes.lasting(store))
    click.echo(report.dump(report.record(made)) if output == "json" else f"revoked {_line(made)}")


@command.command()
@_which
@end_options
@store_options
def restore(
    issuer: str,
    token: str | None,
    token_id: str | None,
    subject: str | None,
    before: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Take a revocation back; --before takes any value then.

    \b
    Examples:
      kgate passport restore --issuer https://auth.example.com --subject alice
    """
    kind, issuer, value = _named(issuer, token, token_id, subject, before)
    with opened(at) as store:
        made = revocations.restore(store, kind, issuer, value, **notes.said())
    if output == "json":
        click.echo(report.dump({**report.record(made), "removed": True}))
    else:
        click.echo(f"restored {_line(made)}")


@command.command(name="list")
@store_options
def list_(at: StoreAt, output: str) -> None:
    """List the revocations.

    \b
    Examples:
      kgate passport list
      kgate passport list --output json
    """
    with opened(at) as store:
        found = revocations.entries(store)
    if output == "json":
        click.echo(report.dump([report.record(one) for one in found]))
        return
    for one in found:
        click.echo(_line(one))
    if not found:
        click.echo("nothing is revoked")


@command.command()
@click.argument("token")
@click.option(
    "--jwks", type=click.Path(path_type=Path, dir_okay=False), help="Keys (JWKS) to verify it with."
)
@click.option("--audience", help="With --jwks: the audience it must be for.  [default: its own]")
@output_option
def inspect(token: str, jwks: Path | None, audience: str | None, output: str) -> None:
    """Decode TOKEN (a token, a passport, or @FILE) without trusting it; with --jwks verify it too.

    \b
    Examples:
      kgate passport inspect @token.txt
      kgate passport inspect @passport.txt --jwks passport-jwks.json --output json

    Exit codes: 0 decoded (and verified, with --jwks), 1 not verified, 2 not a token.
    """
    text = token_text.read_token(token)
    header, claims = token_text.parts_of(text)
    verdict = None if jwks is None else verify(text, header, claims, jwks, audience, time.time())
    times = {name: report.utc(claims[name]) for name in ("iat", "nbf", "exp") if _is_time(claims.get(name))}
    if output == "json":
        verified = None if verdict is None else not verdict
        data = {
            "header": header,
            "claims": claims,
            "times": times,
            "verified": verified,
            "problem": verdict or "",
        }
        click.echo(report.dump(data))
    else:
        click.echo(f"header: {report.dump(header)}")
        for name, value in claims.items():
            when = f"  ({times[name]})" if name in times else ""
            click.echo(f"  {report.printable(name)}: {report.printable(json.dumps(value))}{when}")
        told = (
            "not verified: give --jwks"
            if verdict is None
            else f"refused: {verdict}"
            if verdict
            else "verified"
        )
        click.echo(told)
    if verdict:
        raise click.exceptions.Exit(1)


def verify(
    text: str, header: dict[str, Any], claims: dict[str, Any], jwks: Path, audience: str | None, now: float
) -> str:
    """Check a passport or a token with keys: "" when it is good, else why not. Raises UsageError for the keys."""
    from kong_plugins.identity.issuers import DEFAULT_ALGORITHMS, Issuer
    from kong_plugins.identity.jwks import parse_jwks
    from kong_plugins.identity.tokens import TokenError, verify_token
    from kong_plugins.verify.passport import PROFILES, PassportError, PassportKeys, verify_passport

    try:
        document = json.loads(jwks.read_bytes())
        profile = next((name for name, typ in PROFILES.items() if typ == header.get("typ")), None)
        if profile is not None:
            keys = PassportKeys(document)
            try:
                issuer = str(claims.get("iss"))
                wanted = audience or str(claims.get("aud"))
                verify_passport(text, keys, wanted, issuer=issuer, now=now, profile=profile)
            except PassportError as error:
                return error.reason
            return ""
        own = parse_jwks(document, DEFAULT_ALGORITHMS)
    except (OSError, ValueError) as error:
        raise UsageError(f"--jwks {jwks}: {error}") from error
    issuer_config = Issuer("it", str(claims.get("iss")), () if audience is None else (audience,))
    try:
        verify_token(text, {"it": issuer_config}, {"it": own}, now)
    except TokenError as error:
        return f"{error.reason}: {error.detail}"
    return ""


def _named(
    issuer: str, token: str | None, token_id: str | None, subject: str | None, before: str | None
) -> tuple[str, str, str]:
    """(kind, issuer, value) of what the options name. Raises UsageError."""
    given = [name for name in (token, token_id, subject, before) if name is not None]
    if len(given) != 1:
        raise UsageError("what? give one of --token, --token-id, --subject and --before")
    if token is not None:
        claims = token_text.claims_of(token_text.read_token(token))
        iss, jti = claims.get("iss"), claims.get("jti")
        if not isinstance(iss, str) or not isinstance(jti, str) or not jti:
            raise UsageError("--token: it has no iss and jti; revoke its subject")
        return "token", iss, jti
    if not issuer:
        raise UsageError("whose? give --issuer, as it stands in the tokens' iss")
    if token_id is not None:
        return "token", issuer, token_id
    return ("subject", issuer, subject) if subject is not None else ("before", issuer, "")


def _moment(text: str, now: float) -> float:
    if text == "now":
        return now
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    moment = parse_moment(text)
    if moment is None:
        raise UsageError(f"--before {text!r}: write now, Unix seconds, or a moment like 2030-01-31T18:00Z")
    return moment


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**33


def _line(one: Revocation) -> str:
    what = f"{one.kind} {report.printable(one.value)} of " if one.kind != "before" else ""
    if one.issued_before is not None:
        what = f"what was issued before {report.utc(one.issued_before)} by "
    about = report.by(one.actor, one.reason)
    return f"{what}{report.printable(one.issuer)}  {report.until(one.expires)}  {about}"
