"""The functions of the shim that work on cosockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.cosocket import Cosocket, Pool
from sandbox.settings import Settings


def socket_functions(pool: Pool, settings: Settings) -> dict[str, Callable[..., Any]]:
    """The functions by the names that Lua calls them by. settings: the time-outs that a new socket has."""

    def read(handle: Cosocket, pattern: str, n: int) -> Any:
        answer = handle.read(pattern, n)
        return False if answer is None else (True, *answer)

    return {
        "sock_new": lambda: Cosocket(
            pool, settings.connect_timeout, settings.send_timeout, settings.read_timeout
        ),
        "sock_reuse": lambda h, host, port, name: h.reuse(host, None if port is None else int(port), name),
        "sock_send": lambda h, data: h.send(data),
        "sock_read": read,
        "sock_timeouts": lambda h, connect, send, receive: h.timeouts(connect, send, receive),
        "sock_keepalive": lambda h, ms, size: h.keepalive(ms, size),
        "sock_reused": lambda h: h.reused(),
        "sock_close": lambda h: h.close(),
    }
