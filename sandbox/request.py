"""A client's request as it was read, and how reading it can end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sandbox.wire import Pairs

if TYPE_CHECKING:
    from sandbox.http1 import Connection


class Abort(Exception):
    """Close the client's connection without (the rest of) an answer."""


class BodyTooLarge(Exception):
    """The request body is over the limit."""


@dataclass
class Request:
    """A request as parsed. A bad one has `error` set to the status it deserves."""

    method: str
    target: str
    version: str
    headers: Pairs
    peer: tuple[str, int]
    connection: Connection
    error: int | None = None
    length: int | None = 0
    """Of the body; None when it is chunked."""
    has_body: bool = field(default=False)
    authority: str = ""
    """Host and port of a target in absolute form, which win over the Host header."""

    async def body(self) -> AsyncIterator[bytes]:
        """The body, as it comes. Raises Abort when the client breaks off, BadRequest for broken chunks."""
        while self.has_body:
            chunk = await self.connection.read_body()
            if chunk is None:
                self.has_body = False
                return
            yield chunk

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BodyTooLarge."""
        if self.length is not None and self.length > limit:
            raise BodyTooLarge
        parts, size = [], 0
        async for chunk in self.body():
            size += len(chunk)
            if size > limit:
                raise BodyTooLarge
            parts.append(chunk)
        return b"".join(parts)

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to go on with this connection."""
        options = " ".join(value.lower() for name, value in self.headers if name.lower() == "connection")
        if self.version == "1.1":
            return "close" not in options
        return self.version == "1.0" and "keep-alive" in options
