"""Configs for all workers: who is told, and who is waited for."""

from typing import Any

import pytest

from kong_plugins.server.broadcast import Broadcast


class Worker:
    """A handle without a process."""

    def __init__(self, pid: int, ready: bool = True) -> None:
        self.pid, self.ready = pid, ready
        self.channel: Any = object()
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *message: Any) -> None:
        self.sent.append(message)


@pytest.fixture
def workers() -> list[Any]:
    return [Worker(1), Worker(2), Worker(3)]


def test_the_start_is_answered_when_all_others_know(workers: list[Any]) -> None:
    broadcast = Broadcast()
    broadcast.announce(workers[0], workers, 7, "passport", "{}")
    assert workers[0].sent == []
    assert workers[1].sent == [("config", "passport", "{}", 1)]
    broadcast.known(workers[1], 1)
    assert workers[0].sent == []
    broadcast.known(workers[2], 1)
    assert workers[0].sent == [("announced", 7)]


def test_a_worker_that_is_still_starting_is_told_but_not_waited_for(workers: list[Any]) -> None:
    workers[1].ready = workers[2].ready = False
    Broadcast().announce(workers[0], workers, 7, "passport", "{}")
    assert workers[1].sent == [("config", "passport", "{}", 0)]
    assert workers[0].sent == [("announced", 7)]


def test_a_worker_that_has_ended_is_not_waited_for(workers: list[Any]) -> None:
    broadcast = Broadcast()
    broadcast.announce(workers[0], workers[:2], 7, "passport", "{}")
    broadcast.forget(workers[1])
    assert workers[0].sent == [("announced", 7)]


def test_a_new_worker_is_told_all_of_them_once(workers: list[Any]) -> None:
    broadcast = Broadcast()
    for _ in range(2):
        broadcast.announce(workers[0], workers[:1], 7, "passport", "{}")
    broadcast.announce(workers[0], workers[:1], 8, "abuse-guard", "{}")
    broadcast.greet(workers[2])
    assert workers[2].sent == [("config", "passport", "{}", 0), ("config", "abuse-guard", "{}", 0)]
