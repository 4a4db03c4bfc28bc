"""The memory that all processes of a node share for limits, counters, permits and flags.

One anonymous file (memfd; an unlinked temporary file where there is none) of a size fixed when it is made:

    header     magic, sizes, kind of locks, the node's id, clock offset, place in the exchange
    locks      one per stripe of buckets, and one for the flags
    flags      see `flags.py`
    refusals   see `refusals.py`
    dirty      one byte per bucket: something here was not yet told to the other nodes
    buckets    SLOTS slots each, field by field: id low, until, id high, value, unsent, kind

A key is a 128-bit digest. Which bucket it is in depends on a secret of the node, so a stranger cannot pick keys
that push each other out.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import tempfile
import time
from typing import Final

from kong_plugins.state.locks import LOCK_BYTES, Locks, MutexLocks, RangeLocks, has_mutexes
from kong_plugins.state.refusals import ENTRIES, ENTRY_BYTES

SLOTS: Final = 8
"""Slots of one bucket: a search reads one bucket and no more."""
BUCKET_WORDS: Final = SLOTS * 6
FLAG_ENTRIES: Final = 4096
FLAG_BYTES: Final = 40
DEFAULT_SLOTS: Final = 1 << 18
"""262,144 keys in 13 MB."""

_PAGE = 4096
_MAGIC = b"kgcell1\n"
_HEADER = struct.Struct("<8sqqqQ16sq")
_KINDS = {"mutex": 1, "range": 2}
SEQUENCE_WORD: Final = 32
"""Number of the last message to other nodes."""
PLACE_WORD: Final = 33
"""Where the exchange has read to: two words."""
RESET_WORD: Final = 35
"""Up to when resets of limits were made: microseconds by the store's clock."""


def _new_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("kgate-cells", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        # nobody who has the file may cut it short under the others
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - memory, and unlinked at once
    fd, path = tempfile.mkstemp(prefix="kgate-cells-", dir=folder)
    os.unlink(path)
    os.ftruncate(fd, size)
    return fd


class CellMemory:
    """A process's view of the shared memory. Use `create` once per node and `CellMemory(fd)` everywhere.

    Raises ValueError when the file is no such memory. The descriptor stays open and is the caller's.
    """

    @staticmethod
    def create(slots: int = DEFAULT_SLOTS, stripes: int = 256, locks: str = "") -> int:
        """A new file with room for `slots` keys (rounded up to a power of two); returns its descriptor.

        stripes: how many locks share the buckets. locks: "mutex", "range", or "" for the best there is.
        """
        if not SLOTS <= slots <= 1 << 26:
            raise ValueError(f"slots: {slots} is not {SLOTS} to {1 << 26}")
        buckets = max(1, (slots - 1).bit_length())
        buckets = (1 << buckets) // SLOTS
        stripes = min(1 << max(0, (stripes - 1).bit_length()), buckets)
        kind = locks or ("mutex" if has_mutexes() else "range")
        fd = _new_file(_layout(buckets, stripes)[-1])
        try:
            header = _HEADER.pack(
                _MAGIC,
                buckets,
                stripes,
                _KINDS[kind],
                # odd, for multiply-shift hashing
                secrets.randbits(64) | 1,
                secrets.token_bytes(16),
                time.time_ns() - time.monotonic_ns(),
            )
            os.pwrite(fd, header, 0)
            if kind == "mutex":
                memory = CellMemory(fd)
                assert isinstance(memory.locks, MutexLocks)
                memory.locks.initialise()
                memory.close()
        except BaseException:
            os.close(fd)
            raise
        return fd

    def __init__(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        header = os.pread(fd, _HEADER.size, 0)
        if size < _PAGE or len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise ValueError("fd: this file holds no cells")
        self.buckets: int
        self.stripes: int
        self.secret: int
        self.node: bytes
        self._offset: int
        _, self.buckets, self.stripes, kind, self.secret, self.node, self._offset = _HEADER.unpack(header)
        locks_at, self.flags_at, self.refusals_at, self.dirty_at, slots_at, end = _layout(
            self.buckets, self.stripes
        )
        if end != size:
            raise ValueError(f"fd: holds {size} bytes, not {end}")
        self.fd = fd
        self.map = mmap.mmap(fd, size)
        self.words = memoryview(self.map).cast("q")
        self.dirty = memoryview(self.map)[self.dirty_at : self.dirty_at + self.buckets]
        self.first_word = slots_at // 8
        self.shift = 64 - (self.buckets.bit_length() - 1)
        self.locks: Locks
        if kind == _KINDS["mutex"]:
            self.locks = MutexLocks(self.map, self.words, locks_at, self.stripes + 1)
        else:
            self.locks = RangeLocks(fd, self.words, locks_at, self.stripes + 1)

    @property
    def flag_lock(self) -> int:
        return self.stripes

    def now(self) -> int:
        """Nanoseconds of Unix time as it was when the memory was made, and since then by the monotonic clock.

        The same in all processes of the node, and it does not jump when somebody sets the clock.
        """
        return time.monotonic_ns() + self._offset

    def close(self) -> None:
        """Let go of the memory. The descriptor is left open."""
        self.locks.close()
        self.words.release()
        self.dirty.release()
        self.map.close()


def _layout(buckets: int, stripes: int) -> tuple[int, int, int, int, int, int]:
    """Where the locks, flags, refusals, dirty bytes and buckets start, and the end; in bytes."""
    locks = _PAGE
    flags = locks + (stripes + 1) * LOCK_BYTES
    refusals = flags + FLAG_ENTRIES * FLAG_BYTES
    dirty = refusals + ENTRIES * ENTRY_BYTES
    slots = -(-(dirty + buckets) // _PAGE) * _PAGE
    return locks, flags, refusals, dirty, slots, slots + buckets * BUCKET_WORDS * 8
