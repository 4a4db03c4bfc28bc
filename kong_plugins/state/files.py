"""The control state on disk: what a node goes on with when it starts and Redis is away.

    DIR           0700
    DIR/snapshot  the image (see image.py), 0600, replaced by renaming
    DIR/overlay   what changed since: magic, MAC (keyed blake2b), msgpack {namespace, base, deltas}
    DIR/state.key the key of both MACs, where the config names none

Who can write there can already do whatever the server may do; the MAC is for files that were damaged, restored from
elsewhere, or put there by somebody who could not read the key.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from pathlib import Path
from typing import NamedTuple

import msgpack

from kong_plugins.identity.files import read_file, read_own, write_private
from kong_plugins.state.deltas import Delta, apply_all, delta_of
from kong_plugins.state.image import Image, StateFileError, sealed_memfd
from kong_plugins.state.snapshot import Snapshot, snapshot_of

IMAGE, OVERLAY, KEY = "snapshot", "overlay", "state.key"
_MAGIC = b"kgateovl"
_MAC_SIZE = 32
_MAX_OVERLAY = 1 << 28
_MAX_IMAGE = 1 << 32
_KEY_BYTES = 32
_CHUNK = 1 << 22


class Saved(NamedTuple):
    """What was on disk: the image in sealed memory (fd is the caller's), the changes since, and both together."""

    fd: int
    image: Image
    deltas: list[Delta]
    snapshot: Snapshot


def make_state_dir(folder: Path) -> None:
    """Make the folder, for its owner alone. Raises OSError, and ValueError when it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.geteuid():
        raise ValueError(f"{folder} belongs to another user: choose another --state-dir")
    if stat.S_IMODE(about.st_mode) & 0o077:
        folder.chmod(0o700)


def scratch_image(folder: Path) -> Path:
    """A new name for an image that another process writes, and that is then moved in place."""
    return folder / f"{IMAGE}.{os.getpid()}.{secrets.token_hex(4)}"


def write_scratch(path: Path, raw: bytes) -> None:
    """Write a file of this name, all of it or nothing. Raises OSError."""
    write_private(path, raw).rename(path)


def drop_scratch(path: Path) -> None:
    """Remove such a file, also the half of one whose writer was killed."""
    for each in (path, *path.parent.glob(f".{path.name}.*")):
        each.unlink(missing_ok=True)


def state_key(folder: Path, configured: str | None, base_dir: Path) -> bytes:
    """The key of the MACs: of the configured file, else of the state dir, made there if missing.

    Raises OSError, and ValueError for a file that cannot be used.
    """
    if configured is not None:
        raw = read_file(configured, base_dir, private=True)
    else:
        path = folder / KEY
        try:
            raw = read_own(path, 4096)
        except FileNotFoundError:
            write_private(path, secrets.token_bytes(_KEY_BYTES)).rename(path)
            raw = read_own(path, 4096)
    if len(raw) < 16:
        raise ValueError(f"{configured or folder / KEY}: {len(raw)} bytes are no key: at least 16 are needed")
    return blake2b(raw, digest_size=_KEY_BYTES, person=b"kgate-state").digest()


class StateFiles:
    """The files of one folder, namespace and key. One process writes them."""

    def __init__(self, folder: Path, namespace: str, key: bytes) -> None:
        self._folder, self._namespace, self.key = folder, namespace, key

    def clean(self) -> None:
        """Remove what processes before this one left that were killed while they wrote."""
        with contextlib.suppress(OSError):
            for name in (IMAGE, OVERLAY):
                for path in (*self._folder.glob(f".{name}.*"), *self._folder.glob(f"{name}.*")):
                    path.unlink(missing_ok=True)

    def take_image(self, file: Path | None, fd: int) -> None:
        """Put an image in place that is on disk already, or else that of its memory. Raises OSError."""
        try:
            if file is not None:
                file.rename(self._folder / IMAGE)
                return
        except FileNotFoundError:
            pass  # the builder could not write it
        self.save_image(fd)

    def save_image(self, data: bytes | int) -> None:
        """Write the image, given as bytes or as the descriptor of its memory. The overlay of before stays valid.

        Raises OSError.
        """
        path = self._folder / IMAGE
        if isinstance(data, int):
            data = _read_all(data)
        write_private(path, data).rename(path)

    def save_deltas(self, base: int, deltas: Sequence[Delta]) -> None:
        """Write the changes since the image of version `base`. Raises OSError."""
        body = msgpack.packb(
            {
                "namespace": self._namespace,
                "base": base,
                "deltas": [[each.version, each.changes, dict(each.rows)] for each in deltas],
            },
            unicode_errors="surrogateescape",
        )
        path = self._folder / OVERLAY
        write_private(path, _MAGIC + self._mac(body) + body).rename(path)

    def drop_deltas(self) -> None:
        """Forget the changes: a new image of another history comes. Raises OSError."""
        (self._folder / OVERLAY).unlink(missing_ok=True)

    def load(self) -> Saved | None:
        """What was saved last, None when nothing was. Raises StateFileError, OSError.

        A damaged overlay is an error too: going on without a revocation that it may hold is for the caller to
        decide (`load_image`).
        """
        found = self.load_image()
        if found is None:
            return None
        fd, image = found
        try:
            deltas = self._load_deltas(image.version)
            return Saved(fd, image, deltas, apply_all(snapshot_of(image), deltas))
        except (StateFileError, OSError, ValueError) as error:
            os.close(fd)
            raise StateFileError(str(error)) from error

    def load_image(self) -> tuple[int, Image] | None:
        """The image alone, in sealed memory."""
        try:
            fd = sealed_memfd(read_own(self._folder / IMAGE, _MAX_IMAGE))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StateFileError(str(error)) from error
        try:
            return fd, Image.open(fd, self.key, self._namespace)
        except StateFileError as error:
            os.close(fd)
            raise StateFileError(f"{self._folder / IMAGE}: {error}") from error

    def _load_deltas(self, version: int) -> list[Delta]:
        path = self._folder / OVERLAY
        try:
            raw = read_own(path, _MAX_OVERLAY)
        except FileNotFoundError:
            return []
        mac, body = raw[len(_MAGIC) : len(_MAGIC) + _MAC_SIZE], raw[len(_MAGIC) + _MAC_SIZE :]
        if not raw.startswith(_MAGIC) or not compare_digest(mac, self._mac(body)):
            raise StateFileError(f"{path}: it is damaged or was made with another key")
        try:
            told = msgpack.unpackb(body, unicode_errors="surrogateescape", strict_map_key=False)
            deltas = [delta_of(each) for each in told["deltas"]]
            if told["namespace"] != self._namespace:
                raise StateFileError(f"{path}: it is of namespace {told['namespace']!r}")
            if told["base"] > version:
                raise StateFileError(
                    f"{path}: it goes on from version {told['base']}, the image has {version}"
                )
        except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
            raise StateFileError(f"{path}: it cannot be read: {error!r}") from error
        # the image was replaced and then the process died: those in it are passed over
        return [each for each in deltas if each.version > version]

    def _mac(self, body: bytes) -> bytes:
        return blake2b(body, digest_size=_MAC_SIZE, key=self.key, person=b"kgate-overlay").digest()


def _read_all(fd: int) -> bytes:
    size, parts, at = os.fstat(fd).st_size, [], 0
    while at < size:
        part = os.pread(fd, _CHUNK, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)
