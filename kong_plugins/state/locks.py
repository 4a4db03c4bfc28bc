"""Locks between the processes of a node, in memory that they share.

What is asked of them: a process that is killed while it holds one must not block the others; a process that is
stopped (SIGSTOP, a debugger) must not make them wait for more than a moment; nothing runs in the background.

`MutexLocks` are robust process-shared POSIX mutexes (pthread_mutexattr_setrobust, POSIX.1-2008): the kernel
frees those of a dead process, free ones cost no system call, and waiting is a sleep in the kernel with a limit.
`RangeLocks` are fcntl byte-range locks, for systems without robust mutexes; they cost two system calls. Plain
semaphores stay taken when their holder dies, and flock() locks belong to the open file, which the processes of a
node share. `bench/cells.py` measures them all.

A wait ends after `WAIT_SECONDS` when the holder is stopped. One that waits for a core will go on: it is waited
for like everything on a machine that is too busy (`LONGEST_SECONDS`). Any other state (frozen with its container;
a disk) gets `PATIENCE_SECONDS`. A lock that nobody moved meanwhile is not waited for in the next
`SUSPECT_SECONDS`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

LOCK_BYTES = 64
"""Room for one lock: a mutex (40 bytes in glibc on x86-64, 48 on arm64), and the process that holds it."""

WAIT_SECONDS = 0.0004
PATIENCE_SECONDS = 0.02
LONGEST_SECONDS = 0.2
SUSPECT_SECONDS = 0.1

_HOLDER_AT = 56

_pid = os.getpid()


def _forked() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_forked)


class Locks(Protocol):
    """Numbered locks. One thread holds one at a time, or several taken in rising order."""

    missed: int
    """Locks that could not be had in time."""
    recovered: int
    """Locks whose holder had died (known for mutexes only)."""

    def acquire(self, number: int) -> bool:
        """Take a lock; False when its holder did not let go of it in time."""

    def release(self, number: int) -> None:
        """Let go of a lock that this thread holds."""

    def close(self) -> None:
        """Let go of the memory."""


def state_of(pid: int) -> str:
    """What a process does, as in proc(5): "R" runs or waits for a core, "T" and "t" stopped; "" not known."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read(512).rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


class _Waiting:
    """The part that both share: how long to wait."""

    def __init__(self, memory: memoryview, first: int) -> None:
        self.missed = 0
        self.recovered = 0
        self._memory = memory
        self._first = first
        self._suspects: dict[int, float] = {}

    def close(self) -> None:
        """Let go of the memory."""
        self._memory = memoryview(b"")

    def _attempt(self, number: int, seconds: float) -> bool:
        raise NotImplementedError

    def _wait(self, number: int) -> bool:
        started = time.monotonic()
        if self._suspects.get(number, 0.0) > started:
            self.missed += 1
            return False
        holder = (self._first + number * LOCK_BYTES + _HOLDER_AT) // 8
        first = self._memory[holder]
        moved = False
        while not self._attempt(number, WAIT_SECONDS):
            moved = moved or self._memory[holder] != first
            state = state_of(self._memory[holder])
            waited = time.monotonic() - started
            if state in ("T", "t") or waited > (LONGEST_SECONDS if state == "R" else PATIENCE_SECONDS):
                # it may have let go while we looked
                if self._attempt(number, 0.0):
                    break
                self.missed += 1
                if not moved:
                    self._suspects[number] = time.monotonic() + SUSPECT_SECONDS
                return False
        self._suspects.pop(number, None)
        self._memory[holder] = _pid
        return True


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def has_mutexes() -> bool:
    """Does the C library have robust mutexes?"""
    library = ctypes.PyDLL(None)
    names = ("pthread_mutexattr_setrobust", "pthread_mutex_consistent", "pthread_mutex_timedlock")
    return all(hasattr(library, name) for name in names)


def _timed_lock(library: ctypes.CDLL) -> Callable[[int, float], int]:
    """(address, seconds) -> code; by the clock that does not jump, where the C library can (glibc >= 2.30)."""
    timespec = ctypes.POINTER(_Timespec)
    if hasattr(library, "pthread_mutex_clocklock"):
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, timespec)
        by_clock = kind(("pthread_mutex_clocklock", library))
        monotonic = time.CLOCK_MONOTONIC
        return lambda at, seconds: int(by_clock(at, monotonic, _until(time.monotonic_ns(), seconds)))
    timed = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, timespec)(("pthread_mutex_timedlock", library))
    return lambda at, seconds: int(timed(at, _until(time.time_ns(), seconds)))


def _until(now_ns: int, seconds: float) -> Any:
    until = now_ns + int(seconds * 1e9)
    return ctypes.byref(_Timespec(until // 10**9, until % 10**9))


class MutexLocks(_Waiting):
    """So many robust mutexes in the memory map, the first at the byte `first`.

    They also exclude threads of one process. The map must stay as long as this object.
    """

    def __init__(self, memory: mmap.mmap, words: memoryview, first: int, count: int) -> None:
        super().__init__(words, first)
        # calls that never wait keep the interpreter's lock (PyDLL): letting go of it costs more than the call
        fast, slow = ctypes.PyDLL(None), ctypes.CDLL(None)
        call = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
        self._try = call(("pthread_mutex_trylock", fast))
        self._unlock = call(("pthread_mutex_unlock", fast))
        self._consistent = call(("pthread_mutex_consistent", fast))
        self._timed = _timed_lock(slow)
        self._pin = (ctypes.c_char * len(memory)).from_buffer(memory)
        base = ctypes.addressof(self._pin) + first
        # looked up, not worked out: every limit of a request takes one
        self._addresses = [base + number * LOCK_BYTES for number in range(count)]
        self._holders = [(first + number * LOCK_BYTES + _HOLDER_AT) // 8 for number in range(count)]

    def initialise(self) -> None:
        """Make the mutexes, once, before any other process sees the memory. Raises OSError."""
        library = ctypes.PyDLL(None)
        attributes = ctypes.create_string_buffer(64)
        # both constants are 1 in glibc and in musl (PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_ROBUST)
        codes = [
            library.pthread_mutexattr_init(attributes),
            library.pthread_mutexattr_setpshared(attributes, 1),
            library.pthread_mutexattr_setrobust(attributes, 1),
        ]
        for address in self._addresses:
            codes.append(library.pthread_mutex_init(ctypes.c_void_p(address), attributes))
        if any(codes):
            raise OSError(max(codes), f"robust mutexes: {os.strerror(max(codes))}")

    def acquire(self, number: int) -> bool:
        code = self._try(self._addresses[number])
        if code == 0:
            self._memory[self._holders[number]] = _pid
            return True
        if code == errno.EOWNERDEAD:
            return self._recover(number)
        return self._wait(number)

    def close(self) -> None:
        super().close()
        # an address that is no more must not be used: after this, `acquire` raises AttributeError
        del self._pin, self._try, self._timed, self._unlock

    def release(self, number: int) -> None:
        self._unlock(self._addresses[number])

    def _recover(self, number: int) -> bool:
        # every change to the table is whole at each step, so there is nothing to repair but the mutex
        self._consistent(self._addresses[number])
        self._memory[self._holders[number]] = _pid
        self.recovered += 1
        return True

    def _attempt(self, number: int, seconds: float) -> bool:
        address = self._addresses[number]
        code = self._timed(address, seconds) if seconds else self._try(address)
        if code == errno.EOWNERDEAD:
            return self._recover(number)
        return bool(code == 0)


class RangeLocks(_Waiting):
    """fcntl byte-range locks on the file, one byte each.

    They belong to the process: a process must not close any other descriptor of this file while it uses them
    (POSIX lets go of all its locks then), and its threads are kept apart by ordinary locks.
    """

    def __init__(self, fd: int, words: memoryview, first: int, count: int) -> None:
        super().__init__(words, first)
        self._fd = fd
        self._threads = [threading.Lock() for _ in range(count)]

    def acquire(self, number: int) -> bool:
        if self._attempt(number, 0.0):
            self._memory[(self._first + number * LOCK_BYTES + _HOLDER_AT) // 8] = _pid
            return True
        return self._wait(number)

    def release(self, number: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._first + number)
        self._threads[number].release()

    def _attempt(self, number: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            if self._threads[number].acquire(blocking=False):
                try:
                    fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._first + number)
                    return True
                except OSError:
                    self._threads[number].release()
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.00005)
