"""What `kgate keys` does to a keyring, as functions from its records to the one record that changes.

Every function takes `now` in Unix seconds and raises KeysRefused with what to do instead.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from kong_plugins.identity.key_records import (
    KEEP_SECONDS,
    MAX_KEYS,
    PUBLISH_SECONDS,
    KeyRecord,
    KeyState,
    states,
)
from kong_plugins.identity.keyring import KID
from kong_plugins.identity.sealing import Sealer, SealError
from kong_plugins.identity.signing import Keyring, PrivateKey, make_key

__all__ = ["KEEP_SECONDS", "PUBLISH_SECONDS", "KeysRefused", "adopt", "init", "over", "retire", "rotate"]

_FORGET_SECONDS = 86_400.0


class KeysRefused(Exception):
    """It must not be done to this keyring."""


def init(records: Sequence[KeyRecord], alg: str, sealer: Sealer | None, now: float) -> KeyRecord:
    """The first key; it signs at once, as no verifier knows an older one."""
    if any(record.revoked is None for record in records):
        raise KeysRefused("the keyring has a key: use `kgate keys rotate`")
    return _made(_new(alg), "", now, now, sealer)


def rotate(
    records: Sequence[KeyRecord],
    alg: str | None,
    sealer: Sealer | None,
    now: float,
    publish_for: float = PUBLISH_SECONDS,
) -> KeyRecord:
    """The next key, published from now on; it signs after `publish_for` seconds. alg: None for the present one's."""
    found = states(records, now)
    current = next((each.record for each in found if each.state == "current"), None)
    waiting = next((each.record for each in found if each.state == "next"), None)
    if current is None and waiting is None:
        raise KeysRefused("the keyring has no key: use `kgate keys init`")
    if waiting is not None:
        left = max(0, round(waiting.sign_from - now))
        raise KeysRefused(
            f"key {waiting.kid} is next already and signs in {left} s; retire it to make another"
        )
    _room(found)
    _same_secret(records, sealer)
    assert current is not None
    return _made(_new(alg or current.alg), "", now, now + publish_for, sealer)


def adopt(
    records: Sequence[KeyRecord],
    key: PrivateKey,
    kid: str,
    sealer: Sealer | None,
    now: float,
    publish_for: float = PUBLISH_SECONDS,
) -> KeyRecord:
    """A key that was made elsewhere; the first one signs at once. Raises ValueError for a bad id."""
    if kid and not KID.fullmatch(kid):
        raise ValueError("kid: expected up to 64 letters, digits and '._~-'")
    found = states(records, now)
    _room(found)
    _same_secret(records, sealer)
    signs = any(each.state in ("current", "next") for each in found)
    made = _made(key, kid, now, now + publish_for if signs else now, sealer)
    if any(record.kid == made.kid for record in records):
        raise KeysRefused(f"the keyring has a key {made.kid} already; give another --kid")
    return made


def retire(records: Sequence[KeyRecord], kid: str, now: float, force: bool = False) -> KeyRecord:
    """Revoke a key: it neither signs nor is published from now on, and its private part goes.

    Passports that it signed are refused as soon as verifiers fetch the keys again. The key that signs needs force,
    unless another takes over at once.
    """
    found = {each.record.kid: each for each in states(records, now)}
    wanted = found.get(kid)
    if wanted is None:
        raise KeysRefused(f"the keyring has no key {kid!r}: see `kgate keys list`")
    if wanted.state == "revoked":
        raise KeysRefused(f"key {kid} is revoked already")
    if wanted.state == "current" and not force:
        raise KeysRefused(f"key {kid} signs now: rotate first, or use --force (after a leak)")
    return wanted.record._replace(revoked=now, sealed="", plain="")


def over(records: Sequence[KeyRecord], now: float) -> list[KeyRecord]:
    """Records that are of no use any more: revoked or not published, for a day."""
    found = []
    for each in states(records, now):
        ended = each.record.revoked if each.record.revoked is not None else each.record.sign_from
        if not each.published and now - ended > _FORGET_SECONDS:
            found.append(each.record)
    return found


def _same_secret(records: Sequence[KeyRecord], sealer: Sealer | None) -> None:
    """A key that is sealed otherwise than the others is one that the servers could not open."""
    for record in records:
        if record.revoked is not None:
            continue
        if (sealer is None) != (not record.sealed):
            wanted = "sealed: give their secret" if record.sealed else "not sealed: leave the secret out"
            raise KeysRefused(f"the keys of the keyring are {wanted}")
        if sealer is not None:
            try:
                sealer.open(record.sealed, record.bound)
            except SealError as error:
                raise KeysRefused(
                    f"key {record.kid} does not open with this secret: give that of the plugin servers, "
                    "or retire the key if it was changed"
                ) from error


def _room(found: Sequence[KeyState]) -> None:
    if len(found) >= MAX_KEYS:
        raise KeysRefused(
            f"the keyring has {len(found)} keys, {MAX_KEYS} are allowed: wait for old ones to end"
        )


def _new(alg: str) -> PrivateKey:
    """A key whose id does not begin like an option of a command."""
    while True:
        key = make_key(alg)
        if isinstance(key, bytes) or not Keyring(key).kid.startswith("-"):
            return key


def _made(key: PrivateKey, kid: str, now: float, sign_from: float, sealer: Sealer | None) -> KeyRecord:
    if isinstance(key, bytes) and not kid:
        kid = f"hs256-{secrets.token_hex(6)}"
    ring = Keyring(key, kid)
    record = KeyRecord(ring.kid, ring.alg, now, sign_from)
    private = ring.private_bytes()
    if sealer is None:
        return record._replace(plain=private.decode())
    return record._replace(sealed=sealer.seal(private, record.bound))
