"""Messages and file descriptors between the supervisor and a worker, over a stream socket pair.

A frame is 4 bytes of length (big endian) and a MessagePack array whose first element is the kind. A connection, or
the memory of an image of the control state, travels as the frame's ancillary data (SCM_RIGHTS) and belongs to the
frame whose kind is CONNECTION or IMAGE.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

CONNECTION = "connection"
IMAGE = "image"
_LENGTH = struct.Struct(">I")
_MAX_FDS = 64
Handler = Callable[[list[Any], int | None], None]


class Channel:
    """One end. Sends never block: what the socket does not take waits in a queue.

    handle: called with each message and, for CONNECTION and IMAGE, the received descriptor (now the handler's own),
    or None when this process had no number free for it: the kernel has closed it then.
    closed: called once when the other end is gone.
    """

    def __init__(self, sock: socket.socket, handle: Handler, closed: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._handle = handle
        self._closed = closed
        self._buffer = bytearray()
        self._received: deque[int | None] = deque()
        self._queue: deque[tuple[bytes, int | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, *message: Any, fd: int | None = None) -> None:
        """Send a message; a descriptor is closed here once it was handed over."""
        if not self._open:
            if fd is not None:
                os.close(fd)
            return
        body: bytes = msgpack.packb(list(message), unicode_errors="surrogateescape")
        self._queue.append((_LENGTH.pack(len(body)) + body, fd))
        if len(self._queue) == 1:
            self._writable()

    @property
    def is_idle(self) -> bool:
        """Whether all messages were handed to the kernel, or can never be."""
        return not (self._open and self._queue)

    def _writable(self) -> None:
        while self._queue:
            data, fd = self._queue[0]
            ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
            try:
                sent = self._sock.sendmsg([data], ancillary)
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                return
            except OSError:
                self.close()
                return
            if fd is not None:
                os.close(fd)
            if sent < len(data):
                self._queue[0] = (data[sent:], None)
            else:
                self._queue.popleft()
        self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        try:
            data, ancillary, flags, _address = self._sock.recvmsg(
                1 << 20, socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
            )
        except BlockingIOError:
            return
        except OSError:
            data, ancillary, flags = b"", [], 0
        if flags & socket.MSG_CTRUNC and not ancillary:
            self._received.append(None)  # the kernel ends a read after the frame that had a descriptor
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(raw[: len(raw) - len(raw) % found.itemsize])
                self._received.extend(found)
        if not data:
            self.close()
            return
        self._buffer += data
        while self._open and len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < _LENGTH.size + size:
                return
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
            del self._buffer[: _LENGTH.size + size]
            message = msgpack.unpackb(body, unicode_errors="surrogateescape", strict_map_key=False)
            fd = self._received.popleft() if message[0] in (CONNECTION, IMAGE) else None
            self._handle(message, fd)

    def close(self) -> None:
        """Close this end; `closed` is called."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        for fd in [*self._received, *(fd for _, fd in self._queue)]:
            if fd is not None:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._closed()
