"""Clients that close their connection before they have their answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sandbox.http1 import Connection
from sandbox.request import Abort

T = TypeVar("T")


class Left(Abort):
    """The client closed its connection before it had its answer."""


async def unless_left(client: Connection, work: Coroutine[Any, Any, T]) -> T:
    """The result of work, which is cancelled when the client leaves. Raises Left, and what work raises.

    nginx looks for that from the moment it speaks to the upstream (proxy_ignore_client_abort off).
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client.left_by_client())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Left("the client left")
    finally:
        for task in (leaving, working):
            task.cancel()
        await asyncio.gather(leaving, working, return_exceptions=True)
    return working.result()
