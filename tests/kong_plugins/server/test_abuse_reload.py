"""abuse-guard over a reload: what scenarios have counted goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kong_plugins.server.columns import pack_rows
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, is_analysis, wait_until

SCAN = {
    "name": "scan", "group_by": ["ip"], "statuses": ["404"], "capacity": 5, "leak": 0.001, "then": ["block"]
}  # fmt: skip
PARTS = ("abuse-guard", json.dumps({"scenarios": [SCAN], "block_private": True}))
CHAIN = chain_of(*PARTS)
FACTS, MARKER = facts_of("r"), facts_of("r", "198.51.100.8")


def analyses(server: Server) -> set[int]:
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(each) for each in children if is_analysis(int(each))}


def scan(asker: Asker, batch: str, count: int, facts: list[Any]) -> None:
    """So many 404s, told once."""
    memo = asker.ask(["d", CHAIN, facts, list(PARTS)])[0]["m"]
    row = ["orders", "order", "food", "404", "404", "1", "3", "service", "", "", memo, facts[2]]
    rows = pack_rows([f"{batch}{number}", *row] for number in range(count))
    assert asker.ask(["c", batch, 0, rows])[0] == {"k": "ok"}


def is_blocked(asker: Asker, facts: list[Any]) -> bool:
    # with the config: the connection may go on to a worker that does not know it yet
    return asker.ask(["d", CHAIN, facts, list(PARTS)])[0].get("rs") == "ip_blocked"


def test_a_reload_gives_no_scanner_a_new_start(serve: Callable[..., Server]) -> None:
    server = serve(workers=1)
    with Asker(server.run_dir / "express.sock") as asker:
        scan(asker, "a", 4, FACTS)
        scan(asker, "b", 6, MARKER)
        wait_until(lambda: is_blocked(asker, MARKER), 20)  # all that came before is counted
    before = analyses(server)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(analyses(server) - before) == 1 and not analyses(server) & before, 20)
    with Asker(server.run_dir / "express.sock") as asker:
        assert not is_blocked(asker, FACTS)
        scan(asker, "c", 2, FACTS)
        wait_until(lambda: is_blocked(asker, FACTS), 10)
