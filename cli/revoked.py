"""Which revocation stands behind a refused token: who revoked it and why. An image has only that it is revoked."""

from __future__ import annotations

from collections.abc import Iterable

from cli.errors import UsageError
from cli.report import state as report
from cli.token_text import claims_of
from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.revocations import Revocation, revocation_key, revocation_of

_REASONS = {"token": "token_revoked", "subject": "subject_revoked", "before": "issued_before"}
_SCHEME = "bearer "


def revocations_behind(store: Store, headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By the reason id of the refusal: the revocation of the bearer token among the headers, in words.

    The token is read without trusting it: what is said here counts once the real filter has refused it.
    Raises StoreError.
    """
    keys = _keys(next((value for name, value in headers if name.lower() == "authorization"), ""))
    try:
        found = [revocation_of(record) for record in store.find("revocations", keys)]
    except ValueError as error:
        raise StoreError(f"{store.address}: {error}") from error
    return {_REASONS[one.kind]: _words(one) for one in found}


def _keys(authorization: str) -> list[str]:
    if not authorization.lower().startswith(_SCHEME):
        return []
    keys = []
    try:
        claims = claims_of(authorization[len(_SCHEME) :])
    except UsageError:
        return []
    for kind, claim in (("token", "jti"), ("subject", "sub"), ("before", "iss")):
        try:
            keys.append(revocation_key(kind, str(claims.get("iss", "")), str(claims.get(claim, ""))))
        except ValueError:
            continue
    return keys


def _words(one: Revocation) -> str:
    what = (
        f"{one.kind} {one.value}" if one.issued_before is None else f"before {report.utc(one.issued_before)}"
    )
    return report.printable(
        f"revoked: {what} of {one.issuer}  {report.until(one.expires)}  {report.by(one.actor, one.reason)}"
    )
