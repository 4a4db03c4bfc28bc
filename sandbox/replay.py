"""The request's body on its way up.

As nginx does: with request buffering (Kong's default) all of it is read first, a large one into a temporary
file, so that it can be sent again and its length is known; without, it streams and only one try is possible.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator

from sandbox.request import BodyTooLarge, Request

BUFFER = 8 << 10
"""client_body_buffer_size: what plugins can read of a body."""
_MEMORY = 1 << 20
_CHUNK = 64 << 10
NO_BODY = -1


class Replay:
    """One body, for as many tries as it can serve. limit: bytes, 0 is none."""

    def __init__(self, request: Request, limit: int) -> None:
        self.request = request
        self._limit = limit
        self._size = 0
        self._source = request.body()
        self._file: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._started = False
        self.length: int | None = request.length if request.has_body else NO_BODY

    @property
    def possible(self) -> bool:
        """Whether the body can be sent (again) from its start."""
        return self.length == NO_BODY or self._file is not None or not self._started

    async def prepare(self) -> None:
        """Read all of it. Raises BodyTooLarge, BadRequest, Abort."""
        if self._file is not None or self.length == NO_BODY:
            return
        file = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 # closed by close()
        self._file = file
        while (chunk := await self._next()) is not None:
            file.write(chunk)
        self.length = self._size

    async def small(self) -> str | None:
        """The body as latin-1 text when it fits the buffer that plugins read, else None."""
        await self.prepare()
        if self._file is None:
            return ""
        if self._size > BUFFER:
            return None
        self._file.seek(0)
        return self._file.read().decode("latin-1")

    async def _next(self) -> bytes | None:
        self._started = True
        chunk = await anext(self._source, None)
        if chunk is not None:
            self._size += len(chunk)
            if 0 < self._limit < self._size:
                raise BodyTooLarge
        return chunk

    def stream(self) -> AsyncIterator[bytes] | None:
        """The body from its start; None when there is none."""
        if self.length == NO_BODY:
            return None
        return self._kept() if self._file is not None else self._direct()

    async def _kept(self) -> AsyncIterator[bytes]:
        assert self._file is not None
        position = 0
        while True:
            self._file.seek(position)
            chunk = self._file.read(_CHUNK)
            if not chunk:
                return
            position += len(chunk)
            yield chunk

    async def _direct(self) -> AsyncIterator[bytes]:
        while (part := await self._next()) is not None:
            yield part

    def close(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()
