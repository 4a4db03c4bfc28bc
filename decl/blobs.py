"""Named bytes that survive the process: in a folder of this machine, or in Redis for a whole team.

What is kept holds secrets (configs as they were pushed): the folder is the owner's alone, and the Redis is
the one that the gateway already trusts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

_NAME = re.compile(r"[A-Za-z0-9._-]+")


class BlobError(Exception):
    """They cannot be read or written; the message says where and why."""


class Blobs(Protocol):
    """Bytes by name; names are of letters, digits and `._-`. Methods raise BlobError."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, content: bytes) -> None: ...

    def delete(self, name: str) -> None: ...

    def names(self) -> list[str]: ...


class FileBlobs:
    """In files of a folder, 0600 in 0700; a reader sees the old bytes or the new ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def get(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise BlobError(f"{self.folder}: cannot read {name}: {error.strerror}") from error

    def put(self, name: str, content: bytes) -> None:
        path = self._path(name)
        temporary = path.with_name(f".{name}.{os.getpid()}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise BlobError(f"{self.folder}: cannot write {name}: {error.strerror}") from error

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BlobError(f"{self.folder}: {error.strerror}") from error

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or name.startswith("."):
            raise ValueError(f"no name for a blob: {name!r}")
        return self.folder / name


class RedisBlobs:
    """In one Redis hash. client: a redis.Redis that gives bytes."""

    def __init__(self, client: Any, key: str) -> None:
        self._client, self.key = client, key

    def __str__(self) -> str:
        return f"Redis {self.key}"

    def get(self, name: str) -> bytes | None:
        found: bytes | None = self._do("hget", name)
        return found

    def put(self, name: str, content: bytes) -> None:
        self._do("hset", name, content)

    def delete(self, name: str) -> None:
        self._do("hdel", name)

    def names(self) -> list[str]:
        return sorted(name.decode() for name in self._do("hkeys"))

    def _do(self, command: str, *arguments: Any) -> Any:
        from redis.exceptions import RedisError

        try:
            return getattr(self._client, command)(self.key, *arguments)
        except (RedisError, OSError) as error:
            raise BlobError(f"Redis: {error}") from error
