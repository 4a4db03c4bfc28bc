"""A keyring in a private folder: one file a key, KID.key.json, for its owner alone."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kong_plugins.identity import strict_json
from kong_plugins.identity.files import read_own, write_private
from kong_plugins.identity.key_records import KeyRecord, record_data, record_of

_ENDING = ".key.json"
_MOST_BYTES = 65_536


class KeyFiles:
    """The records in `folder`; one that is not there holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Changes when any file does; raises nothing."""
        try:
            with os.scandir(self.folder) as entries:
                return tuple(
                    sorted(
                        (each.name, each.stat().st_mtime_ns, each.inode())
                        for each in entries
                        if each.name.endswith(_ENDING)
                    )
                )
        except OSError:
            return ()

    def load(self) -> list[KeyRecord]:
        """All records. Raises ValueError naming the file."""
        found = []
        for path in sorted(self.folder.glob(f"*{_ENDING}")):
            try:
                if path.stat().st_mode & 0o077:
                    raise ValueError("is open to others: chmod 600 it")
                data = strict_json.loads(read_own(path, _MOST_BYTES))
                if not isinstance(data, dict):
                    raise ValueError("is not a key's record")
                found.append(record_of(path.name.removesuffix(_ENDING), data))
            except OSError as error:
                raise ValueError(f"{path}: {error.strerror}") from error
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return found

    def save(self, record: KeyRecord) -> None:
        """Write one record. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{record.kid}{_ENDING}"
        raw = json.dumps(record_data(record), indent=1).encode() + b"\n"
        write_private(path, raw).replace(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder: for reading, deciding and writing. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
