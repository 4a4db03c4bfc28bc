"""Ports for servers that a test starts, and one where nobody listens."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

FIRST, LAST = 15_000, 32_000
"""Below the range that Linux takes for outgoing connections (32768 and up): a port from there may be a client's by
the time that the server binds it."""

_SLICE = (LAST - FIRST) // 8
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_next = itertools.count(random.randrange(_SLICE))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that this run has not given out lately."""
    for _ in range(_SLICE):
        port = FIRST + _WORKER * _SLICE + next(_next) % _SLICE
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


@contextmanager
def refused_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections. It is bound all the time, so no other test gets it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
