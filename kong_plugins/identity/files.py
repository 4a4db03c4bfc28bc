"""Files with keys in them: who may read and who may write them."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Any


def read_file(value: Any, base_dir: Path, *, private: bool = False) -> bytes:
    """Read a small file that the config names; a private one must not be open to everybody.

    Raises ValueError with the path and what to do.
    """
    if not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    path = base_dir / value
    try:
        with path.open("rb") as file:
            if private and os.fstat(file.fileno()).st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise ValueError(f"{path} is open to every user of the machine: chmod 600 it")
            return file.read(65_536)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error


def read_own(path: Path, limit: int) -> bytes:
    """Read a file that nobody else could have written, at most `limit` bytes.

    Raises OSError, and ValueError when others may write to it.
    """
    with contextlib.closing(os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")) as file:
        about = os.fstat(file.fileno())
        if about.st_uid not in (os.geteuid(), 0) or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError(f"{path} could have been written by others")
        return file.read(limit)


def write_private(path: Path, raw: bytes) -> Path:
    """Write a new file beside `path` that only its owner can read; the caller moves it in place.

    Raises OSError.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        scratch.unlink(missing_ok=True)  # a full disk: leave no half of it
        raise
    return scratch
