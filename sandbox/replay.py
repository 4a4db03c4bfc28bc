"""The request's body on its way up: streamed, with what was sent kept for a retry while it is small."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sandbox.exchange import get_first
from sandbox.http1 import BodyTooLarge, Request

_KEEP = 1 << 20
NO_BODY = -1


class Replay:
    """One body, for as many tries as it can serve. limit: bytes, 0 is none."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._kept: list[bytes] = []
        self._size = 0
        self._started = self._ended = False
        self._source = request.body()
        length = get_first(request.headers, "content-length")
        self.length: int | None = NO_BODY if not request.has_body else int(length) if length else None

    @property
    def possible(self) -> bool:
        """Whether the body can be sent (again) from its start: nothing was read, or all of it was kept."""
        return not self._started or (self._ended and self._size <= _KEEP)

    async def prepare(self, buffering: bool) -> None:
        """Kong buffers bodies by default: a small chunked one goes up with its length.

        Raises BodyTooLarge.
        """
        if self.length is not None or not buffering:
            return
        while self._size <= _KEEP:
            chunk = await self._next()
            if chunk is None:
                self.length = self._size
                return
            self._kept.append(chunk)

    async def _next(self) -> bytes | None:
        if self._ended:
            return None
        self._started = True
        chunk = await anext(self._source, None)
        if chunk is None:
            self._ended = True
            return None
        self._size += len(chunk)
        if 0 < self._limit < self._size:
            raise BodyTooLarge
        return chunk

    def stream(self) -> AsyncIterator[bytes] | None:
        """The body from its start; None when there is none."""
        return None if self.length == NO_BODY else self._all()

    async def _all(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept):
            yield chunk
        while (part := await self._next()) is not None:
            if self._size <= _KEEP:
                self._kept.append(part)
            yield part
