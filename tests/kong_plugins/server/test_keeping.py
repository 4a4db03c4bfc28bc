"""The supervisor's side of the keeper, by an injected clock: nobody waits for a keeper that cannot work."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.server import keeping as module
from kong_plugins.server.config import RedisConfig
from kong_plugins.server.keeping import Keeping
from kong_plugins.server.options import Options
from kong_plugins.server.peers import Allowed

REDIS = RedisConfig("redis://127.0.0.1:1/0")


class Worker:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, *message: Any) -> None:
        self.sent.append(message)


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a keeper was to be started; none can be."""
    times: list[float] = []

    def fail(*_args: Any, **_more: Any) -> None:
        times.append(time.monotonic())
        raise OSError(11, "no more processes")

    monkeypatch.setattr(module.subprocess, "Popen", fail)
    return times


@pytest.fixture
def keeping(worker: Worker, spawned: list[float], tmp_path: Path) -> Keeping:
    options = Options(tmp_path, None, 1, 0.05, "info", "human", Allowed(frozenset(), frozenset()))
    return Keeping(options, 0, lambda: [worker], lambda: None)  # type: ignore[list-item]


def test_without_a_store_there_is_no_keeper(keeping: Keeping, worker: Worker, spawned: list[float]) -> None:
    keeping.start(RedisConfig())
    assert worker.sent == [("go", True)]
    assert (spawned, keeping.health().degraded) == ([], False)


def test_workers_do_not_wait_for_ever(keeping: Keeping, worker: Worker) -> None:
    keeping.start(REDIS)
    started = time.monotonic()
    keeping.watch(started + 5, stood_still=False)
    assert worker.sent == []
    keeping.watch(started + module.FIRST_WAIT_SECONDS + 1, stood_still=False)
    assert worker.sent == [("go", False)]
    assert keeping.health().degraded


def test_it_is_started_again_and_again_with_pauses(keeping: Keeping, spawned: list[float]) -> None:
    keeping.start(REDIS)
    began, at = time.monotonic(), 0.0
    while at < 20:
        keeping.watch(began + at, stood_still=False)
        at += 0.1
    assert len(spawned) > 3
    assert len(spawned) < 200, "not at every beat"
