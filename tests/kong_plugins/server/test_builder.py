"""Images that are built in a process of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.server.builder import build_apart
from kong_plugins.state.files import make_state_dir, state_key
from kong_plugins.state.image import StateFileError
from kong_plugins.state.operations import blocks
from kong_plugins.state.redis import RedisStore
from kong_plugins.state.snapshot import snapshot_of


def test_a_builder_reads_redis_and_fills_sealed_memory(own_redis: Any, tmp_path: Path) -> None:
    store = RedisStore(own_redis.url)
    blocks.add(store, "203.0.113.7", actor="kim")
    config, folder = tmp_path / "server.yaml", tmp_path / "state"
    config.write_text(f"redis: {{url: '{own_redis.url}'}}\n")
    make_state_dir(folder)
    build = build_apart(config, folder, state_key(folder, None, tmp_path), "default")
    built = build()
    try:
        snapshot = snapshot_of(built.image)
        assert snapshot.version == store.version()
        assert snapshot.blocks.match("203.0.113.7", 0.0) is not None
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(built.fd, b"x", 0)
    finally:
        os.close(built.fd)
        store.close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    own_redis.kill()
    with pytest.raises(StateFileError, match=r"the builder ended with 1: redis://127\.0\.0\.1"):
        build()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
