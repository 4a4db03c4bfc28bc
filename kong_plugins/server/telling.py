"""What the analysts of one node tell those of the others: every 100 ms over a channel of Redis.

At most once and without an order: what is told are states and sums, which the next message tells again.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import redis

from kong_plugins.state.connection import key_prefix

log = logging.getLogger("kgate.analysis")

MAX_BYTES = 1 << 20
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
WAIT_SECONDS = 0.2


class Telling:
    """connect: makes a redis.Redis that answers bytes; node: unique to this process; heard: called with (node,
    analyst, what it told) for the messages of others, in a thread of this object."""

    def __init__(
        self,
        connect: Callable[[], Any],
        namespace: str,
        node: str,
        heard: Callable[[str, str, Mapping[str, Any]], None],
    ) -> None:
        self._connect, self._node, self._heard = connect, node, heard
        self._channel = key_prefix(namespace) + "analysis"
        self._news: bytes | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self.connected: set[str] = set()
        self.refused = 0
        """Messages that could not be read."""
        self._threads = [
            threading.Thread(target=self._keep, args=(name, work), name=f"kgate-tell-{name}", daemon=True)
            for name, work in (("send", self._send), ("receive", self._receive))
        ]

    def start(self) -> None:
        """Tell and hear in two threads."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; returns within the timeouts of the connection."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()

    def tell(self, told: Mapping[str, Mapping[str, Any]]) -> None:
        """Send what the analysts tell, by their names. A message that was not sent yet is replaced."""
        packed: bytes = msgpack.packb([self._node, dict(told)], unicode_errors="surrogateescape")
        if len(packed) <= MAX_BYTES:
            self._news = packed
            self._wake.set()

    def _keep(self, name: str, work: Callable[[Any, str], None]) -> None:
        pause = FIRST_PAUSE
        while not self._stop.is_set():
            client = self._connect()
            try:
                work(client, name)
            except (redis.RedisError, OSError):
                pass  # the keeper tells that Redis is away
            finally:
                was_up = name in self.connected
                self.connected.discard(name)
                client.close()
            pause = FIRST_PAUSE if was_up else min(pause * 2, LONGEST_PAUSE)
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _send(self, client: Any, name: str) -> None:
        client.ping()
        self.connected.add(name)
        while not self._stop.is_set():
            self._wake.wait(1.0)
            self._wake.clear()
            news, self._news = self._news, None
            if news is not None:
                client.publish(self._channel, news)

    def _receive(self, client: Any, name: str) -> None:
        with client.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(self._channel)
            self.connected.add(name)
            while not self._stop.is_set():
                message = subscription.get_message(timeout=WAIT_SECONDS)
                if message is not None:
                    self._take(message["data"])

    def _take(self, data: Any) -> None:
        try:
            node, told = msgpack.unpackb(data, unicode_errors="surrogateescape", strict_map_key=False)
            if node == self._node:
                return
            for analyst, what in told.items():
                if isinstance(what, dict):
                    self._heard(str(node), str(analyst), what)
        except (TypeError, ValueError, AttributeError, msgpack.UnpackException):
            self.refused += 1
