"""Private keys at rest: sealed with AES-256-GCM under a key that never stands beside them.

The sealing key is made of a secret of the operators (a file, or an environment variable) by HKDF-SHA256. What
a record says of its key (id, algorithm, times) is bound to the sealed text: whoever may write to Redis can
neither swap keys nor change when one counts.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kong_plugins.identity.files import read_file

MIN_SECRET = 32
_FORM = "v1."
_NONCE = 12


class SealError(ValueError):
    """A sealed key cannot be opened: another secret, or it was changed."""


class Sealer:
    """Seals and opens with one secret of 32 bytes or more. Shows nothing of it."""

    __slots__ = ("_aes",)

    def __init__(self, secret: bytes) -> None:
        """Raises ValueError for a short secret."""
        secret = secret.strip()
        if len(secret) < MIN_SECRET:
            raise ValueError(f"the secret has {len(secret)} bytes, {MIN_SECRET} are needed")
        key = HKDF(hashes.SHA256(), 32, salt=None, info=b"kgate keyring v1").derive(secret)
        self._aes = AESGCM(key)

    def seal(self, raw: bytes, bound: bytes) -> str:
        """The sealed text of `raw`; it opens with the same `bound` alone."""
        nonce = os.urandom(_NONCE)
        return _FORM + base64.urlsafe_b64encode(nonce + self._aes.encrypt(nonce, raw, bound)).decode()

    def open(self, text: str, bound: bytes) -> bytes:
        """Raises SealError, which holds nothing of the key."""
        if not text.startswith(_FORM):
            raise SealError("the key is sealed in a form that this version does not know")
        try:
            raw = base64.b64decode(text[len(_FORM) :], altchars=b"-_", validate=True)
            return self._aes.decrypt(raw[:_NONCE], raw[_NONCE:], bound)
        except (InvalidTag, binascii.Error, ValueError):
            raise SealError("the key was sealed with another secret, or was changed") from None

    def __repr__(self) -> str:
        return "Sealer()"

    def __reduce__(self) -> Any:
        raise TypeError("a sealer is not for pickling")


def read_secret(secret_file: Any, secret_env: Any, base_dir: Path, env: Mapping[str, str]) -> bytes | None:
    """The secret of a file (relative to base_dir) or of the environment variable of that name; None without either.

    Raises ValueError naming secret_file or secret_env.
    """
    if secret_file is not None and secret_env is not None:
        raise ValueError("secret_file: give it or secret_env, not both")
    if secret_file is not None:
        try:
            return read_file(secret_file, base_dir, private=True)
        except ValueError as error:
            raise ValueError(f"secret_file: {error}") from error
    if secret_env is not None:
        found = env.get(secret_env, "") if isinstance(secret_env, str) else ""
        if not found:
            raise ValueError(f"secret_env: the environment variable {secret_env} is not set")
        return found.encode()
    return None
