"""One worker process as the supervisor sees it."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from typing import Any

from kong_plugins.server.channel import Channel


class Handle:
    """Its process, its channel, what it serves and what it last told."""

    def __init__(self, generation: int, process: subprocess.Popen[bytes]) -> None:
        self.generation = generation
        self.process = process
        self.channel: Channel | None = None
        self.started = time.monotonic()
        self.answered = self.started
        self.ready = False
        self.leaving = False
        self.connections: Counter[str] = Counter()
        self.stats: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, *message: Any, fd: int | None = None) -> None:
        """Send a message; to a worker that has gone it is lost, its connections with it."""
        if self.channel is not None:
            self.channel.send(*message, fd=fd)
