"""An image: the control state of one version as bytes that many processes map and read in place.

    0   magic, 8 bytes
    8   schema u32, length of the head u32, length of everything u64
    24  MAC, 32 bytes: blake2b keyed with the node's state key over all other bytes
    56  head: msgpack map {namespace, version, built, hash_key, info, sections: {name: [offset, length]}}
    ..  sections, each at a multiple of 8

Nothing in it is executed or unpickled: the sections are arrays of numbers and msgpack of plain values.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from hmac import compare_digest
from typing import Any

import msgpack

MAGIC = b"kgateimg"
SCHEMA = 1
"""Of the bytes. A reader refuses any other: the image is then built anew from the store."""
_FRONT = struct.Struct("<8sIIQ32s")
_MAC_AT = 24
_MAC_SIZE = 32
_PERSON = b"kgate-image"
_PAGE = 4096
_STEP = 256 * 1024
_MOST_STEPS = 512


class StateFileError(Exception):
    """The bytes are no image that may be used: damaged, cut off, of another key, schema or namespace."""


class Image:
    """The bytes, checked, and their named sections. Keeps the mapping alive; closed when forgotten."""

    __slots__ = ("_data", "built", "hash_key", "info", "namespace", "sections", "size", "version")

    def __init__(self, data: memoryview, key: bytes | None, namespace: str | None) -> None:
        head = _checked_head(data, key)
        try:
            self.namespace: str = head["namespace"]
            self.version: int = head["version"]
            self.built: float = head["built"]
            self.hash_key: bytes = head["hash_key"]
            self.info: Mapping[str, Any] = head["info"]
            self.sections: dict[str, memoryview] = {}
            for name, (offset, length) in head["sections"].items():
                if offset % 8 or offset < _FRONT.size or length < 0 or offset + length > len(data):
                    raise StateFileError(f"section {name} lies outside the image")
                self.sections[name] = data[offset : offset + length]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateFileError(f"the head cannot be read: {error!r}") from error
        if namespace is not None and namespace != self.namespace:
            raise StateFileError(f"it is of namespace {self.namespace!r}, not {namespace!r}")
        self.size, self._data = len(data), data

    def touched(self) -> Iterator[None]:
        """Maps the pages, some 20 us a step: else whoever comes to a page first waits for it."""
        step = max(_STEP, self.size // _MOST_STEPS // _PAGE * _PAGE)
        for start in range(0, self.size, step):
            bytes(self._data[start : start + step : _PAGE])
            yield

    @classmethod
    def open(cls, source: int | bytes, key: bytes | None = None, namespace: str | None = None) -> Image:
        """The image of a file descriptor (mapped; the caller may close it then) or of bytes.

        key: the node's state key. None trusts the bytes without reading them all: for a sealed memfd of this
        node's own keeper. namespace: what it must be, if given. Raises StateFileError.
        """
        if not isinstance(source, int):
            return cls(memoryview(source), key, namespace)
        try:
            mapped = mmap.mmap(source, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise StateFileError(f"cannot be mapped: {error}") from error
        return cls(memoryview(mapped), key, namespace)


def _checked_head(data: memoryview, key: bytes | None) -> Mapping[str, Any]:
    if len(data) < _FRONT.size:
        raise StateFileError(f"{len(data)} bytes are no image")
    magic, schema, head_length, length, mac = _FRONT.unpack_from(data)
    if magic != MAGIC:
        raise StateFileError("it is no image: the first bytes are others")
    if schema != SCHEMA:
        raise StateFileError(f"it has schema {schema}, this kgate reads {SCHEMA}")
    if length != len(data) or _FRONT.size + head_length > length:
        raise StateFileError(f"it is cut off: {len(data)} bytes of {length}")
    if key is not None and not compare_digest(mac, _mac(data, key)):
        raise StateFileError("the checksum is wrong: it is damaged or was made with another key")
    try:
        head = msgpack.unpackb(data[_FRONT.size : _FRONT.size + head_length], raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise StateFileError(f"the head cannot be read: {error}") from error
    if not isinstance(head, dict):
        raise StateFileError("the head is no map")
    return head


def _mac(data: memoryview, key: bytes) -> bytes:
    digest = blake2b(data[:_MAC_AT], digest_size=_MAC_SIZE, key=key, person=_PERSON)
    digest.update(data[_MAC_AT + _MAC_SIZE :])
    return digest.digest()


def pack_image(
    sections: Mapping[str, bytes],
    *,
    namespace: str,
    version: int,
    built: float,
    hash_key: bytes,
    info: Mapping[str, Any],
    key: bytes,
) -> bytes:
    """The bytes of an image. key: 0 to 64 bytes; b"" makes a checksum against damage alone."""
    names = list(sections)
    places: dict[str, list[int]] = {name: [0xFFFF_FFFF_FFFF, len(sections[name])] for name in names}
    head = {
        "namespace": namespace,
        "version": version,
        "built": built,
        "hash_key": hash_key,
        "info": info,
        "sections": places,
    }
    # the head's own length depends on the offsets in it: leave room for the longest
    offset = -(-(_FRONT.size + len(msgpack.packb(head))) // 8) * 8
    parts: list[bytes] = []
    for name in names:
        section = sections[name]
        places[name][0] = offset
        padding = -len(section) % 8
        parts += (section, bytes(padding))
        offset += len(section) + padding
    packed = msgpack.packb(head)
    start = places[names[0]][0] if names else offset
    front = _FRONT.pack(MAGIC, SCHEMA, len(packed), offset, bytes(_MAC_SIZE))
    data = bytearray().join((front, packed, bytes(start - len(front) - len(packed)), *parts))
    data[_MAC_AT : _MAC_AT + _MAC_SIZE] = _mac(memoryview(data), key)
    return bytes(data)


def sealed_memfd(data: bytes, name: str = "kgate-image") -> int:
    """A file descriptor of anonymous memory that holds the bytes and that nobody can change any more.

    To be passed to the workers, which map it: the memory is there once. The caller closes it.
    """
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        seal(fd, data)
    except OSError:
        os.close(fd)
        raise
    return fd


def seal(fd: int, data: bytes) -> None:
    """Fill a memfd, and let nobody change it any more. Raises OSError."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(fd, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
