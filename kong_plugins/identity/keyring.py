"""The server's `passport.key`: one key in a file that signs passports.

    key: {alg: EdDSA, file: keys/passport.pem, generate: true}     PEM, PKCS #8, made when absent
    key: {alg: ES256, file: keys/passport.pem}                     or RS256
    key: {alg: HS256, secret_file: keys/passport.secret}           32 bytes at least

`kid` names the key to the verifiers; the default is its thumbprint (RFC 7638). For keys that rotate see
ring_config.py.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kong_plugins.identity.files import read_file, write_private
from kong_plugins.identity.signing import SIGNING_ALGORITHMS, Keyring, b64url, load_key, make_key

__all__ = ["KID", "Keyring", "b64url", "parse_keyring"]

_FIELDS = {"alg", "kid", "file", "generate", "secret_file"}
KID = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def parse_keyring(config: Mapping[str, Any], base_dir: Path) -> Keyring:
    """Load (or, with `generate`, make) the signing key; paths are relative to base_dir.

    Raises ValueError naming the field.
    """
    if not isinstance(config, Mapping):
        raise ValueError("passport.key: expected a map")
    for name in config:
        if name not in _FIELDS:
            raise ValueError(f"passport.key: {name}: unknown field")
    kid = config.get("kid", "")
    if "kid" in config and not (isinstance(kid, str) and KID.fullmatch(kid)):
        raise ValueError("passport.key: kid: expected up to 64 letters, digits and '._~-'")
    alg = config.get("alg", "EdDSA")
    if not isinstance(alg, str) or alg not in SIGNING_ALGORITHMS:
        raise ValueError(f"passport.key: alg: expected one of {', '.join(SIGNING_ALGORITHMS)}")
    source = "secret_file" if alg == "HS256" else "file"
    other = "secret_file" if source == "file" else "file"
    if other in config:
        raise ValueError(f"passport.key: {other}: is not for {alg}, use {source}")
    generate = config.get("generate", False)
    if not isinstance(generate, bool):
        raise ValueError("passport.key: generate: expected true or false")
    path = config.get(source)
    try:
        if generate and isinstance(path, str) and path:
            _generate(base_dir / path, alg)
        return Keyring(load_key(read_file(path, base_dir, private=True), alg), kid)
    except ValueError as error:
        raise ValueError(f"passport.key: {source}: {error}") from error


def _generate(path: Path, alg: str) -> None:
    """Make the key file unless it is there; of several processes at once the first wins."""
    if path.exists():
        return
    raw = Keyring(make_key(alg)).private_bytes()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = write_private(path, raw + b"\n" if alg == "HS256" else raw)
        # a link fails where a rename would replace another process's key
        with contextlib.suppress(FileExistsError):
            os.link(scratch, path)
        scratch.unlink()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from error
