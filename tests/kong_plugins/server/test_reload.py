"""What outlives a reload, and the death of the analysis: open breakers, limits, local blocks."""

import json
import os
import signal
import time
from collections.abc import Callable

from kong_plugins.server.columns import pack_rows
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, wait_until

LIMIT = {"name": "two", "key": ["ip"], "rate": 2, "per": 3600}
BREAKER = {"minimum_calls": 4, "open_seconds": 600}
LIMITED = ["abuse-guard", json.dumps({"limits": [LIMIT]})]
BROKEN = [
    "static-fallback",
    json.dumps({"responses": [{"on": ["open"], "status": 503}], "breaker": BREAKER}),
]


def ask(server: Server, parts: list[str]) -> dict[str, object]:
    with Asker(server.run_dir / "express.sock") as asker:
        found: dict[str, object] = asker.ask(["d", chain_of(*parts), facts_of("r"), parts])[0]
        return found


def fail(server: Server, memo: str) -> None:
    row = ["orders", "order", "food", "502", "502", "1", "3", "error", "refused", "", memo, "ip"]
    with Asker(server.run_dir / "express.sock") as asker:
        asker.ask(["c", "b-1", 0, pack_rows([f"r{number}", *row] for number in range(4))])


def reload(server: Server) -> None:
    generation = set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(server.workers()) == 2 and not generation & set(server.workers()), 20)


def test_open_breakers_and_used_limits_outlive_a_reload_and_a_death(serve: Callable[..., Server]) -> None:
    server = serve("--log-level", "info", workers=2)
    assert [ask(server, LIMITED).get("st") for _ in range(3)] == [None, None, 429]
    fail(server, str(ask(server, BROKEN)["m"]))
    wait_until(lambda: ask(server, BROKEN).get("st") == 503, 10)
    (analysis,) = server.analyses()
    reload(server)
    assert ask(server, BROKEN).get("st") == 503
    assert ask(server, LIMITED)["st"] == 429
    wait_until(lambda: len(server.analyses()) == 1 and server.analyses() != [analysis], 10)

    def openings() -> int:
        return server.log.read_text().count("breaker.opened")

    (analysis,), before = server.analyses(), openings()
    time.sleep(2.5)  # it tells once a second
    os.kill(analysis, signal.SIGKILL)
    wait_until(lambda: openings() > before, 10)  # the next one has taken it over, and shows it
    assert ask(server, BROKEN).get("st") == 503


def test_a_reload_that_is_asked_for_during_one_comes_after_it(serve: Callable[..., Server]) -> None:
    """Else what was changed meanwhile would wait for the next one, and nobody would know."""
    server = serve("--log-level", "info", workers=2)

    def reloads() -> int:
        return server.log.read_text().count("reloaded: 2 new workers")

    for _ in range(10):
        done = reloads()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.workers()) > 2, 20)  # it is under way
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        if reloads() == done:
            break
        # the machine held this process up until the reload was over: some of the three began others
        wait_until(lambda: len(server.workers()) == 2, 20)
        time.sleep(2)
        wait_until(lambda: len(server.workers()) == 2, 20)
    wait_until(lambda: reloads() == done + 2, 30)
    generation = set(server.workers())
    time.sleep(0.5)
    assert (reloads(), set(server.workers())) == (done + 2, generation), "once is enough"
