"""The server's `passport.keyring`: keys that rotate (`kgate keys`).

    keyring: {store: redis, secret_file: keys/keyring.secret}   sealed in the control state, see sealing.py
    keyring: {store: redis, secret_env: KGATE_KEYRING_SECRET}
    keyring: {dir: keys}                                        files of a private folder ...
    keyring: {dir: keys, secret_file: keys/keyring.secret}      ... sealed as well

With `store: redis` every plugin server has the keys with the next snapshot of the control state; a folder is
looked at every second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kong_plugins.identity.key_files import KeyFiles
from kong_plugins.identity.ring import Ring
from kong_plugins.identity.sealing import Sealer, read_secret

_FIELDS = {"store", "dir", "secret_file", "secret_env"}


class Rings(NamedTuple):
    """The keyring and where its records come from: `files`, or with None the control state."""

    ring: Ring
    files: KeyFiles | None


def parse_ring(config: Any, base_dir: Path) -> Rings:
    """Read the field; paths are relative to base_dir. Raises ValueError naming it."""
    if not isinstance(config, Mapping):
        raise ValueError("passport.keyring: expected a map")
    for name in config:
        if name not in _FIELDS:
            raise ValueError(f"passport.keyring: {name}: unknown field")
    try:
        secret = read_secret(config.get("secret_file"), config.get("secret_env"), base_dir, os.environ)
        sealer = None if secret is None else Sealer(secret)
    except ValueError as error:
        raise ValueError(f"passport.keyring: {error}") from error
    store, folder = config.get("store"), config.get("dir")
    if (store is None) == (folder is None):
        raise ValueError("passport.keyring: store: give either store: redis, or dir")
    if store is not None:
        if store != "redis":
            raise ValueError("passport.keyring: store: expected redis")
        if sealer is None:
            raise ValueError("passport.keyring: secret_file: is needed: keys in Redis are sealed")
        return Rings(Ring(sealer), None)
    if not isinstance(folder, str) or not folder:
        raise ValueError("passport.keyring: dir: expected a path")
    files = KeyFiles(base_dir / folder)
    ring = Ring(sealer)
    try:
        ring.use(files.load())
    except ValueError as error:
        raise ValueError(f"passport.keyring: dir: {error}") from error
    return Rings(ring, files)
