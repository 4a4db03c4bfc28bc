"""The state bench runs and tells what it promises. The figures themselves are not judged here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import state, state_load, state_server
from bench.state import AIMS, bench, human
from bench.state_server import CHAIN
from tests.kong_plugins.server.running import Asker, chain_of, facts_of, steadily


def test_a_tiny_run_has_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "WORKERS", 2)
    said: list[str] = []
    result = bench(2_000, 1, 0.1, False, said.append)
    assert set(result["aims"]) == set(AIMS)
    assert result["memory"]["workers"] == 2
    assert {"IPv4 hit", "IPv6 hit", "IPv4 miss", "IPv6 miss"} < set(result["look_up"])
    assert result["beside"]["building"]["count"] > 0
    assert result["beside"]["swapping"]["swap"]["count"] > 0
    assert "lookup_median_us" in human(result)
    assert said


def test_the_load_is_the_same_each_time() -> None:
    held = state_load.rows(1_000)
    assert held == state_load.rows(1_000)
    assert len(held) == 1_000
    assert {key.partition(" ")[0] for key in held} == {"ip", "cidr"}


class SteadyAsker(Asker):
    """Asks on another connection when a server that the machine held up closes this one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    def ask(self, *messages: Any) -> list[dict[str, Any]]:
        def once() -> list[dict[str, Any]]:
            try:
                return Asker.ask(self, *messages)
            except OSError:
                self.close()
                Asker.__init__(self, self._path)
                # perhaps it is another worker's
                Asker.ask(self, ["d", chain_of(*CHAIN), facts_of("first"), CHAIN])
                raise

        return steadily(once)


def test_a_whole_server_takes_a_set_of_blocks(redis_program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_server, "Asker", SteadyAsker)
    monkeypatch.setattr(state_server, "IDLE_SECONDS", 1.5)
    monkeypatch.setattr(state_server, "AFTER_SECONDS", 0.1)
    monkeypatch.setattr(state_server, "redis_executable", lambda: redis_program)
    result = state_server.bench(12_000, 1, 200.0)
    (one,) = result["rounds"]
    assert one["idle"]["count"] > 0
    assert one["building"]["count"] > 0
    assert result["ratio_p99"] == one["ratio_p99"] > 0
    assert "12,000 blocks" in state_server.human(result)
