"""Filters that raise, loop, sleep or sit in C code, in real workers: they fail their own request and no other."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, steadily, wait_until
from tests.pace import within

ROOT = Path(__file__).parents[3]
BAD_FILTERS = """
import collections, itertools, re, time
from kong_plugins.abuse_guard import core
good = core.decide_stranger
def decide(facts, config, state, now):
    if facts.path == "/raises":
        raise KeyError(facts.path)
    while facts.path == "/loops":
        pass
    if facts.path == "/catches":
        while True:
            try:
                time.sleep(30)
            except Exception:
                pass
    if facts.path == "/backtracks":
        re.match(r"(a+)+$", "a" * 60 + "b")
    if facts.path == "/in-c":
        collections.deque(itertools.repeat(0), maxlen=0)  # for ever, and without a look at signals
    return good(facts, config, state, now)
core.decide_stranger = decide
"""
PARTS = ["abuse-guard", "{}"]
DEADLINE = 0.05


def asking(path: str) -> list[Any]:
    facts = facts_of("r")
    facts[6] = path
    return ["d", chain_of(*PARTS), facts, PARTS]


class Other:
    """A client of the other worker, who asks all the time until the block ends."""

    def __init__(self, asker: Asker) -> None:
        self._asker, self._stop = asker, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.failures: list[BaseException] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                assert self._asker.ask(asking("/"))[0]["n"] == "r"
            except (OSError, AssertionError, KeyError) as error:
                self.failures.append(error)
                return
            self.answered += 1
            time.sleep(0.01)

    def __enter__(self) -> "Other":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def server(serve: Callable[..., Server], tmp_path: Path) -> Server:
    """Two workers with filters that are not ours."""
    (tmp_path / "sitecustomize.py").write_text(BAD_FILTERS)
    return serve(workers=2, prefix=("env", f"PYTHONPATH={tmp_path}:{ROOT}"))


def test_a_bad_filter_fails_its_own_request_and_no_other(server: Server) -> None:
    path = server.run_dir / "express.sock"
    with Asker(path) as bad, Asker(path) as good:  # one a worker
        with Other(good) as other:
            for what in ("raises", "loops", "catches", "backtracks"):
                reason = "filter_error" if what == "raises" else "deadline"
                started = time.monotonic()
                failed, next_one = bad.ask(asking(f"/{what}"), asking("/"))
                assert (failed["e"], failed["n"]) == (reason, "r")
                assert "e" not in next_one, "the same worker goes on at once"
                # without a processor to itself a filter that sleeps is stopped later (deadline.py)
                assert time.monotonic() - started < within(4 * DEADLINE)
            before = other.answered
            with pytest.raises((ConnectionError, OSError)):
                bad.ask(asking("/in-c"))
            assert other.answered > before + 20, "the other worker answered all the while"
        assert other.failures == []
    log = server.log.read_text()
    assert log.count("request r: ") == 4
    assert "does not answer" in log
    wait_until(lambda: len(server.workers()) == 2, 2)

    def served() -> bool:
        with Asker(path) as again:
            return "e" not in again.ask(asking("/"))[0]

    assert steadily(served)
