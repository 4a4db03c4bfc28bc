"""kgate keys: the keys that sign passports."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import FailedError, UsageError
from cli.key_store import SECRET_ENV, KeyPlace, key_place, sealer_of
from cli.operate import Notes, StoreAt, Ttl, end_options, parse_ttl, store_options
from cli.report import state as report
from kong_plugins.identity import key_operations
from kong_plugins.identity.key_records import KeyRecord, KeyState, states
from kong_plugins.identity.ring import Ring
from kong_plugins.identity.signing import SIGNING_ALGORITHMS, load_key

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="keys")
def command() -> None:
    """The keys that sign passports: made, published, used, rotated and retired.

    A key is next (published, not used yet), current (signs), previous (published until its last passport is over) or
    revoked. Plugin servers with `passport: {keyring: {store: redis, ...}}` have a change within a second. Private
    keys are sealed with a secret that never is in Redis, and are never printed.
    """


def _ring_options(function: F) -> F:
    for option in (
        click.option("--dir", "folder", type=click.Path(path_type=Path, file_okay=False),
                     help="Keep the keyring in a private folder, not in Redis."),
        click.option("--secret-file", type=click.Path(dir_okay=False), show_envvar=False,
                     help=f"File with the secret that seals the keys.  [env var for the secret: {SECRET_ENV}]"),
    ):  # fmt: skip
        function = option(function)
    return function


_ALG = click.option("--alg", type=click.Choice(SIGNING_ALGORITHMS), help="Algorithm of the new key.")
_AFTER = click.option(
    "--publish-for",
    default="10m",
    show_default=True,
    help="How long it is published before it signs; 0s only when every verifier has it.",
)


@command.command()
@_ALG
@_ring_options
@end_options
@store_options
def init(
    alg: str | None,
    folder: Path | None,
    secret_file: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Make the first key. It signs at once.

    \b
    Examples:
      kgate keys init --secret-file keyring.secret
      kgate keys init --alg ES256 --dir keys
    """
    sealer = sealer_of(secret_file, folder)
    with key_place(at, folder, time.time) as place:
        made = place.change(
            "init",
            notes.actor,
            notes.reason,
            lambda records, now: key_operations.init(records, alg or "EdDSA", sealer, now),
        )
        _tell("made", made, place, output)


@command.command()
@_ALG
@_AFTER
@_ring_options
@end_options
@store_options
def rotate(
    alg: str | None,
    publish_for: str,
    folder: Path | None,
    secret_file: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Publish the next key; it takes over by itself after --publish-for.

    \b
    Examples:
      kgate keys rotate --secret-file keyring.secret
      kgate keys rotate --alg ES256 --publish-for 1h --reason "move to ES256"

    Exit codes: 0 published, 1 Redis is away, 2 wrong usage, 4 a key is next already, or there is none at all.
    """
    sealer, seconds = sealer_of(secret_file, folder), _seconds(publish_for)
    with key_place(at, folder, time.time) as place:
        made = place.change(
            "rotate",
            notes.actor,
            notes.reason,
            lambda records, now: key_operations.rotate(records, alg, sealer, now, seconds),
        )
        _tell("published", made, place, output)


@command.command()
@click.argument("kid")
@click.option("--force", is_flag=True, help="Retire the key that signs, too: after a leak.")
@_ring_options
@end_options
@store_options
def retire(
    kid: str,
    force: bool,
    folder: Path | None,
    secret_file: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Revoke key KID: it is published no more and its private part is deleted.

    \b
    Examples:
      kgate keys retire kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
      kgate keys retire 2026-a --force --reason "laptop stolen"

    Exit codes: 0 revoked, 1 Redis is away, 2 wrong usage, 4 no such key, or it signs and --force is missing.
    """
    with key_place(at, folder, time.time) as place:
        made = place.change(
            "retire",
            notes.actor,
            notes.reason,
            lambda records, now: key_operations.retire(records, kid, now, force),
        )
        _tell("revoked", made, place, output)


@command.command(name="list")
@_ring_options
@store_options
def list_(folder: Path | None, secret_file: str | None, at: StoreAt, output: str) -> None:
    """List the keys and their states.

    \b
    Examples:
      kgate keys list
      kgate keys list --dir keys --output json
    """
    with key_place(at, folder, time.time) as place:
        found = states(place.load(), place.now())
    if output == "json":
        click.echo(report.dump([_view(each) for each in found]))
        return
    for each in found:
        click.echo(_line(each))
    if not found:
        click.echo("there are no keys: make one with `kgate keys init`")


@command.command(name="export-jwks")
@click.argument("file", default="-", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@_ring_options
@store_options
def export_jwks(file: Path, folder: Path | None, secret_file: str | None, at: StoreAt, output: str) -> None:
    """Write the public keys to FILE (- for stdout) as a JWKS, for verifiers that fetch nothing.

    \b
    Examples:
      kgate keys export-jwks --secret-file keyring.secret
      kgate keys export-jwks passport-jwks.json --dir keys
    """
    ring = Ring(sealer_of(secret_file, folder))
    with key_place(at, folder, time.time) as place:
        records = place.load()
        ring.use(records)
        jwks = ring.public_jwks(place.now())
        live = {each.record.kid for each in states(records, place.now()) if each.published}
        secret = {each.kid for each in records if each.alg == "HS256"}
    missing = live - secret - {jwk["kid"] for jwk in jwks["keys"]}
    if missing:
        raise FailedError(
            f"keys that cannot be opened: {', '.join(sorted(missing))}; is the secret the right one?"
        )
    text = json.dumps(jwks, indent=1) + "\n"
    if str(file) == "-":
        click.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FailedError(f"cannot write {file}: {error.strerror}") from error
    click.echo(f"wrote {len(jwks['keys'])} public keys to {file}", err=True)


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--alg", type=click.Choice(SIGNING_ALGORITHMS), default="EdDSA", show_default=True, help="Its algorithm."
)
@click.option("--kid", default="", help="Its id.  [default: its thumbprint]")
@_AFTER
@_ring_options
@end_options
@store_options
def import_(
    file: Path,
    alg: str,
    kid: str,
    publish_for: str,
    folder: Path | None,
    secret_file: str | None,
    notes: Notes,
    at: StoreAt,
    output: str,
) -> None:
    """Take the private key in FILE (PEM, for HS256 the secret) into the keyring.

    \b
    Examples:
      kgate keys import passport-key.pem --secret-file keyring.secret
      kgate keys import old.pem --alg RS256 --kid 2025-b --publish-for 1h
    """
    sealer, seconds = sealer_of(secret_file, folder), _seconds(publish_for)
    try:
        key = load_key(file.read_bytes(), alg)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{file}: {why}") from error
    with key_place(at, folder, time.time) as place:
        try:
            made = place.change(
                "import",
                notes.actor,
                notes.reason,
                lambda records, now: key_operations.adopt(records, key, kid, sealer, now, seconds),
            )
        except ValueError as error:
            raise UsageError(f"--{error}") from error
        _tell("took", made, place, output)


def _seconds(text: str) -> float:
    if text in ("0", "0s"):
        return 0.0
    found: Ttl = parse_ttl(text)
    if found.seconds is None:
        raise UsageError(f"--publish-for {text!r}: write a number and s, m, h or d")
    return found.seconds


def _tell(done: str, made: KeyRecord, place: KeyPlace, output: str) -> None:
    now = place.now()
    state = next(each for each in states(place.load(), now) if each.record.kid == made.kid)
    if output == "json":
        click.echo(report.dump(_view(state)))
    else:
        click.echo(f"{done} {_line(state)}")


def _view(found: KeyState) -> dict[str, Any]:
    record = found.record
    return {
        "kid": record.kid,
        "alg": record.alg,
        "state": found.state,
        "published": found.published,
        "created": record.created,
        "sign_from": record.sign_from,
        "revoked": record.revoked,
        "until": found.until,
        "sealed": bool(record.sealed),
    }


def _line(found: KeyState) -> str:
    record = found.record
    more = {
        "next": f"signs from {report.utc(record.sign_from)}",
        "current": "signs" + (f" until {report.utc(found.until)}" if found.until else ""),
        "previous": f"published until {report.utc(found.until)}" if found.until else "not published any more",
        "revoked": f"since {report.utc(record.revoked)}" if record.revoked else "",
    }[found.state]
    return f"{record.kid}  {record.alg}  {found.state}, {more}"
