"""Choosing a store by its URL."""

from __future__ import annotations

from kong_plugins.state.base import Store
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.redis import RedisStore


def open_store(url: str | None, namespace: str = "default", ca_file: str | None = None) -> Store:
    """The store of a URL: None or memory:// (this process alone), redis://, rediss:// (TLS, with the
    authorities of `ca_file` or the system's), unix://.

    Connects to nothing yet. Raises ValueError for another URL.
    """
    if url is None or url == "memory://":
        return MemoryStore()
    return RedisStore(url, namespace, ca_file)
