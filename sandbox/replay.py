"""The request's body on its way up: streamed, with what was sent kept for a retry while it is small."""

from __future__ import annotations

from collections.abc import AsyncIterator

from sandbox.exchange import get_first
from sandbox.http1 import BodyTooLarge, Request

_KEEP = 1 << 20
NO_BODY = -1


class Replay:
    """One body, for as many tries as it can serve."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._kept: list[bytes] = []
        self._size = 0
        self._source: AsyncIterator[bytes] | None = None
        length = get_first(request.headers, "content-length")
        self.length: int | None = NO_BODY if not request.has_body else int(length) if length else None
        self.possible = True

    async def prepare(self, buffering: bool) -> None:
        """Kong buffers bodies by default: a small chunked one goes up with its length. Raises BodyTooLarge."""
        if self.length is None and buffering:
            async for chunk in self._read():
                if self._size > _KEEP:
                    self._kept.append(chunk)
                    self.possible = False
                    return
            self.length = self._size

    async def _read(self) -> AsyncIterator[bytes]:
        if self._source is None:
            self._source = self._request.body()
        async for chunk in self._source:
            self._size += len(chunk)
            if 0 < self._limit < self._size:
                raise BodyTooLarge
            if self._size <= _KEEP:
                self._kept.append(chunk)
            else:
                self.possible = False
            yield chunk

    def stream(self) -> AsyncIterator[bytes] | None:
        """The body from its start; None when there is none."""
        return None if self.length == NO_BODY else self._all()

    async def _all(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept):
            yield chunk
        if not self.possible:
            self._kept.clear()
        async for chunk in self._read():
            yield chunk
