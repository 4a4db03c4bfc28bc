"""The analysis without its process: configs, guards, conclusions with and without a store, and what nodes tell."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest
import requests

from kong_plugins.engine.analyst import Conclusion
from kong_plugins.engine.outcome import Outcome
from kong_plugins.engine.registry import parse_config
from kong_plugins.server.analysis import Analysts
from kong_plugins.server.analysts import build_analysts
from kong_plugins.server.columns import pack_rows
from kong_plugins.server.concluding import Concluder
from kong_plugins.server.feed import Feed
from kong_plugins.server.telling import Telling
from kong_plugins.state.base import StoreError
from kong_plugins.state.cells import Cells
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.connection import connect
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.overlay import pack_changes, unpack_changes
from kong_plugins.state.records import MAX_BATCH, Delete, Event, Put, Record
from kong_plugins.state.snapshot import empty_snapshot
from tests.kong_plugins.server.running import Asker, Server, chain_of, facts_of, is_analysis, wait_until
from tests.pace import within
from tests.ports import free_port
from tests.redis_server import RedisServer

NOW = 1_800_000_000.0
BLOCK = Conclusion(
    "block.add", "ip 203.0.113.9", "too fast", {"count": 9}, "blocks", "ip 203.0.113.9", {}, 60.0
)


class Fake:
    """Concludes one thing from each outcome."""

    def __init__(self, broken: bool = False) -> None:
        self.configs: Sequence[Any] = ()
        self.broken = broken
        self.merged: list[Any] = []
        self.ticks = 0

    def configure(self, configs: Sequence[Any]) -> None:
        self.configs = configs

    def concerned(self, kind: Outcome) -> bool:
        return True

    def take(self, outcomes: Sequence[Outcome], now: float) -> list[Conclusion]:
        if self.broken:
            raise RuntimeError("no")
        return [Conclusion("seen", outcome.route, str(now)) for outcome in outcomes]

    def tick(self, now: float) -> list[Conclusion]:
        self.ticks += 1
        return []

    def merge(self, node: str, told: Mapping[str, Any], now: float) -> list[Conclusion]:
        self.merged.append((node, told))
        return []

    def tell(self, now: float) -> Mapping[str, Any] | None:
        return {"ticks": self.ticks}


def test_each_analyst_gets_its_configs_once_and_all_outcomes() -> None:
    found: list[Conclusion] = []
    fake = Fake()
    analysts = Analysts({"static-fallback": fake}, found.append)
    text = json.dumps({"responses": [{"on": ["502"]}], "breaker": {}})
    for _ in range(2):
        analysts.config("static-fallback", text)
    analysts.config("abuse-guard", "{}")
    analysts.config("static-fallback", '{"responses": 1}')
    row = ["id", "r1", *[""] * 11]
    analysts.outcomes(pack_rows([row]), NOW)
    analysts.outcomes(pack_rows([row]) + b"\xc1", NOW)  # no batch: the supervisor has said so
    assert len(fake.configs) == 1
    assert [(told.kind, told.subject) for told in found] == [("seen", "r1")]
    assert analysts.tick(NOW) == {"static-fallback": {"ticks": 1}}
    analysts.merge("other", "static-fallback", {"a": 1}, NOW)
    analysts.merge("other", "unknown", {"a": 1}, NOW)
    assert fake.merged == [("other", {"a": 1})]


def test_an_analyst_gets_what_concerns_it_in_its_order() -> None:
    class Picky(Fake):
        def concerned(self, kind: Outcome) -> bool:
            assert (kind.milliseconds, kind.ip) == ("0", "")
            return kind.route != "r2"

    found: list[Conclusion] = []
    analysts = Analysts({"abuse-guard": Picky(), "static-fallback": Fake()}, found.append)
    analysts.outcomes(pack_rows(["id", route, *[""] * 11] for route in ("r1", "r2", "r3", "r1")), NOW)
    assert [told.subject for told in found] == ["r1", "r3", "r1", "r1", "r2", "r3", "r1"]
    analysts.outcomes(pack_rows([["id", "r2", *[""] * 11]]), NOW)
    assert [told.subject for told in found[7:]] == ["r2"]


def test_an_analyst_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    found: list[Conclusion] = []
    analysts = Analysts({"abuse-guard": Fake(broken=True), "static-fallback": Fake()}, found.append)
    analysts.outcomes(pack_rows([["r1", *[""] * 12]]), NOW)
    assert len(found) == 1
    assert analysts.failures == 1
    assert "the analyst of abuse-guard failed" in caplog.text


def concluder(store: Any, told: list[bytes] | None = None) -> Concluder:
    return Concluder(store, "n1", (told if told is not None else []).append, time.time)


def test_a_conclusion_becomes_a_record_and_an_event_with_its_numbers() -> None:
    store, told = MemoryStore(), []  # type: ignore[var-annotated]
    made = concluder(store, told)
    made.add(BLOCK)
    made.add(Conclusion("breaker.opened", "service order", "failures", {"calls": 4}))
    assert made.work()
    record = store.get("blocks", BLOCK.key)
    assert record is not None
    assert (record.source, record.reason) == ("gateway:n1", "too fast")
    assert record.expires == pytest.approx(store.now() + 60, abs=30)
    events = [(event.kind, event.subject, dict(event.data)) for event in store.events(10)]
    assert events == [
        ("block.add", "ip 203.0.113.9", {"count": 9}),
        ("breaker.opened", "service order", {"calls": 4}),
    ]
    assert told == []


@pytest.mark.parametrize(("there", "stays"), [(600.0, "elsewhere"), (20.0, "too fast")])
def test_a_block_of_another_node_that_lasts_longer_stays(there: float, stays: str) -> None:
    store = MemoryStore()
    held = Record(
        "blocks", BLOCK.key, {}, reason="elsewhere", source="gateway:n2", expires=store.now() + there
    )
    store.apply([Put(held)])
    made = concluder(store)
    made.add(BLOCK)
    assert made.work()
    record = store.get("blocks", BLOCK.key)
    assert record is not None
    assert record.reason == stays
    assert record.expires == pytest.approx(store.now() + max(there, 60), abs=5)
    assert [event.kind for event in store.events(10)] == ["block.add"], "it is told all the same"


@pytest.mark.parametrize("ttl", [None, 5.0])
def test_an_operators_record_stays_and_a_canarys_other_fields_too(ttl: float | None) -> None:
    """His block may end sooner: it is his word."""
    store = MemoryStore()
    end = None if ttl is None else store.now() + ttl
    store.apply([Put(Record("blocks", BLOCK.key, {}, reason="by hand", source="cli", expires=end))])
    canary = {"percent": 5, "users": ["ann"], "paused": False, "aborted": False}
    store.apply([Put(Record("canaries", "v2", canary, source="cli"))])
    made = concluder(store)
    made.add(BLOCK)
    made.add(Conclusion("canary.abort", "v2", "errors", {}, "canaries", "v2", {"aborted": True}))
    made.work()
    block, override = store.get("blocks", BLOCK.key), store.get("canaries", "v2")
    assert block is not None
    assert override is not None
    assert block.reason == "by hand"
    assert override.data == {**canary, "aborted": True}
    assert [event.kind for event in store.events(10)][-2:] == ["block.add", "canary.abort"]


def test_without_a_store_the_workers_of_the_node_are_told() -> None:
    told: list[bytes] = []
    made = concluder(None, told)
    made.add(BLOCK)
    made.add(Conclusion("breaker.opened", "x", "y"))
    assert made.work()
    (change,) = unpack_changes(told[0])
    assert isinstance(change, Put)
    assert change.record.key == BLOCK.key
    snapshot = empty_snapshot().applied([change], 0)
    assert snapshot.blocks.match("203.0.113.9", time.time()) is not None
    assert snapshot.blocks.match("203.0.113.9", time.time() + 61) is None


class Away(MemoryStore):
    away = True

    def get(self, collection: str, key: str) -> Record | None:
        if self.away:
            raise StoreError("away")
        return super().get(collection, key)

    def append(self, event: Event) -> str:
        if self.away:
            raise StoreError("away")
        return super().append(event)


def test_while_the_store_is_away_it_holds_on_this_node_and_is_written_later() -> None:
    store, told = Away(), []  # type: ignore[var-annotated]
    made = concluder(store, told)
    made.add(BLOCK)
    made.add(Conclusion("breaker.opened", "x", "y"))
    assert not made.work()
    assert not made.work()
    assert len(told) == 1, "once"
    store.away = False
    assert made.work()
    assert store.get("blocks", BLOCK.key) is not None
    assert [event.kind for event in store.events(10)] == ["block.add", "breaker.opened"]


def test_a_full_collection_holds_up_nothing_else_and_the_finding_holds_on_this_node() -> None:
    """An outage marks everybody who saw it: a canary must be aborted on all nodes all the same."""
    store, told = MemoryStore(), []  # type: ignore[var-annotated]
    cap = COLLECTIONS["marks"].cap
    every = [
        Put(Record("marks", f"ip 9.{n >> 16}.{n >> 8 & 255}.{n & 255}", {"score": 1})) for n in range(cap)
    ]
    for begin in range(0, cap, MAX_BATCH):
        store.apply(every[begin : begin + MAX_BATCH])
    made = concluder(store, told)
    mark = Conclusion("mark.set", "ip 8.8.8.8", "many", {}, "marks", "ip 8.8.8.8", {"score": 40}, 60.0)
    made.add(mark)
    made.add(mark._replace(kind="mark.set", subject="ip 8.8.8.9", key="ip 8.8.8.9"))
    made.add(Conclusion("canary.abort", "v2", "errors", {}, "canaries", "v2", {"aborted": True}))
    assert made.work()
    assert store.get("canaries", "v2") is not None
    assert made.lost == 2
    held = [
        change.record.key for packed in told for change in unpack_changes(packed) if isinstance(change, Put)
    ]
    assert held == ["ip 8.8.8.8", "ip 8.8.8.9"], "this node's workers have them"
    assert [event.kind for event in store.events(10)] == ["mark.set", "mark.set", "canary.abort"]


@pytest.mark.parametrize(
    "bad",
    [BLOCK._replace(collection="nonsense"), BLOCK._replace(data={"x": float("nan")})],
    ids=["collection", "data"],
)
def test_what_cannot_be_written_does_not_hold_up_the_rest(bad: Conclusion) -> None:
    store = MemoryStore()
    made = concluder(store)
    made.add(bad)
    made.add(BLOCK._replace(key="ip 203.0.113.10"))
    assert made.work()
    assert store.get("blocks", "ip 203.0.113.10") is not None


def test_a_worker_that_starts_and_a_new_image_get_the_nodes_own_changes() -> None:
    class Worker:
        sent: list[Any]

        def __init__(self) -> None:
            self.sent = []

        def send(self, *message: Any, fd: int | None = None) -> None:
            self.sent.append(message)

    feed, first, second = Feed(), Worker(), Worker()
    feed.empty = True
    feed.settle([first])  # type: ignore[list-item]
    feed.local(b"\x90", [first])  # type: ignore[list-item]
    feed.greet(second)  # type: ignore[arg-type]
    assert first.sent == second.sent == [("go", True), ("delta", [0, b"\x90", {}])]
    feed.image(7, [], os.memfd_create("image"), [first])  # type: ignore[list-item]
    assert first.sent[2:] == [("image", 7, [], [[0, b"\x90", {}]])], "in one message"
    third = Worker()
    feed.greet(third)  # type: ignore[arg-type]
    assert third.sent == [("image", 7, [], [[0, b"\x90", {}]]), ("go", True)]
    feed.clear()


def test_what_the_store_has_got_is_not_said_again_over_its_word() -> None:
    """An operator lifts a block that was found without Redis: no new worker and no new image brings it back."""

    class Worker:
        def __init__(self) -> None:
            self.sent: list[Any] = []

        def send(self, *message: Any, fd: int | None = None) -> None:
            self.sent.append(message)

    def change(ip: str) -> bytes:
        return pack_changes([Put(Record("blocks", f"ip {ip}", {}, expires=NOW + 900))])

    now = [100.0]
    feed, first, later = Feed(lambda: now[0]), Worker(), Worker()
    for ip in ("9.9.9.1", "9.9.9.2", "9.9.9.1"):
        feed.local(change(ip), [first])  # type: ignore[list-item]
    assert len(first.sent) == 3
    feed.written("blocks", "ip 9.9.9.1")
    feed.written("blocks", "ip 9.9.9.7")
    feed.image(7, [], os.memfd_create("image"), [later])  # type: ignore[list-item]
    assert [each[1] for each in later.sent[-1][3]] == [change("9.9.9.2"), change("9.9.9.1")], (
        "it may not be followed yet"
    )
    now[0] += 60
    feed.image(8, [], os.memfd_create("image"), [later])  # type: ignore[list-item]
    assert [each[1] for each in later.sent[-1][3]] == [change("9.9.9.2")]
    new = Worker()
    feed.greet(new)  # type: ignore[arg-type]
    assert [each[1] for each in new.sent[0][3]] == [change("9.9.9.2")]
    feed.local(change("9.9.9.1"), [first])  # type: ignore[list-item]
    feed.greet(new)  # type: ignore[arg-type]
    assert len(new.sent[1][3]) == 2, "found again"
    lifted = pack_changes([Delete("blocks", "ip 9.9.9.2"), Delete("blocks", "ip 9.9.9.1")])
    feed.written("blocks", "ip 9.9.9.1")
    feed.delta([9, lifted, {}], [first])  # type: ignore[list-item]
    feed.greet(new)  # type: ignore[arg-type]
    assert [each[1] for each in new.sent[2][3]] == [change("9.9.9.2")], "at once, where the store is followed"
    feed.clear()


def test_what_was_written_late_is_told() -> None:
    store, written = Away(), []  # type: ignore[var-annotated]
    made = Concluder(store, "n1", lambda _: None, time.time, lambda *name: written.append(name))
    made.add(BLOCK)
    made.add(Conclusion("breaker.opened", "x", "y"))
    assert not made.work()
    store.away = False
    made.add(BLOCK._replace(key="ip 203.0.113.10"))
    assert made.work()
    assert written == [("blocks", BLOCK.key)], "what the workers never had from here is not among them"


def test_nodes_hear_each_other_within_a_moment(redis_server: RedisServer) -> None:
    redis_url = redis_server.url
    heard: dict[str, list[Any]] = {"a": [], "b": []}

    def telling(name: str) -> Telling:
        def take(node: str, analyst: str, told: Mapping[str, Any]) -> None:
            heard[name].append((node, analyst, told))

        return Telling(lambda: connect(redis_url, None, decode_responses=False), "tell", name, take)

    both = [telling("a"), telling("b")]
    for each in both:
        each.start()
    try:
        wait_until(lambda: all(len(each.connected) == 2 for each in both), 10)
        both[0].tell({"static-fallback": {"breakers": [["id", "\udcff"]]}})
        assert wait_until(lambda: bool(heard["b"]), 2) < within(0.5)
        assert heard == {"a": [], "b": [("a", "static-fallback", {"breakers": [["id", "\udcff"]]})]}
        connect(redis_url, None, decode_responses=False).publish("kgate:v2:{tell}:analysis", b"\xc1junk")
        wait_until(lambda: both[1].refused == 1, 2)
    finally:
        for each in both:
            each.close()


CONFIG = json.dumps(
    {"responses": [{"on": ["open"], "status": 503}], "breaker": {"minimum_calls": 4, "open_seconds": 600}}
)
PARTS = ("static-fallback", CONFIG)
CHAIN = chain_of(*PARTS)


def failures(memo: str, count: int) -> bytes:
    row = ["orders", "order", "food", "502", "502", "1", "3", "error", "refused", "", memo, "ip"]
    return pack_rows([f"r{number}", *row] for number in range(count))


def learn(asker: Asker) -> str:
    """Ask once with the configs; the memo of the verdict."""
    memo: str = asker.ask(["d", CHAIN, facts_of("r"), list(PARTS)])[0]["m"]
    return memo


def is_open(*askers: Asker) -> bool:
    return all(each.ask(["d", CHAIN, facts_of("r")])[0].get("st") == 503 for each in askers)


def test_a_breaker_opens_over_all_workers_without_redis(serve: Callable[..., Server]) -> None:
    server = serve(workers=2)
    with Asker(server.run_dir / "express.sock") as one, Asker(server.run_dir / "express.sock") as two:
        both = (one, two)
        memos = [learn(each) for each in both]
        assert memos[0] == memos[1]
        for number, each in enumerate(both):  # half of what is needed on each connection
            for _ in range(2):  # sent again: counts once
                assert each.ask(["c", f"b-{number}", 0, failures(memos[0], 2)])[0] == {"k": "ok"}
        wait_until(lambda: is_open(*both), 10)


def test_an_opening_on_one_node_is_known_to_the_other(
    serve: Callable[..., Server], redis_server: RedisServer
) -> None:
    nodes = [serve(workers=1, redis=redis_server.url) for _ in range(2)]
    with Asker(nodes[0].run_dir / "express.sock") as here, Asker(nodes[1].run_dir / "express.sock") as there:
        memo = learn(here)
        assert learn(there) == memo
        here.ask(["c", "b-1", 0, failures(memo, 4)])
        wait_until(lambda: is_open(here), 10)
        wait_until(lambda: is_open(there), 5)


def test_a_reload_forgets_no_open_breaker(serve: Callable[..., Server]) -> None:
    port = free_port()
    server = serve("--metrics-listen", f"127.0.0.1:{port}", workers=1)
    express = server.run_dir / "express.sock"

    def shown() -> bool:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
        return 'kgate_breaker_state{breaker="service:order"} 1.0' in text

    with Asker(express) as asker:
        asker.ask(["c", "b-1", 0, failures(learn(asker), 4)])
        wait_until(lambda: is_open(asker), 10)

    def analyses() -> set[int]:
        pid = server.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(each) for each in children if is_analysis(int(each))}

    before = analyses()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(analyses() - before) == 1 and not analyses() & before, 20)
    # a new process that had forgotten would neither show it nor tell of it
    wait_until(shown, 10)
    with Asker(express) as asker:
        assert asker.ask(["d", CHAIN, facts_of("r"), list(PARTS)])[0]["st"] == 503


def test_what_was_counted_goes_on_in_the_next_process() -> None:
    def made() -> tuple[Analysts, list[Conclusion]]:
        told: list[Conclusion] = []
        analysts = Analysts(build_analysts(Cells.attach(Cells.create())), told.append)
        analysts.config("static-fallback", CONFIG)
        analysts.config(
            "canary-router", json.dumps({"name": "v2", "upstream": "v2", "abort_if": {"errors": 4}})
        )
        return analysts, told

    parsed = parse_config("static-fallback", json.loads(CONFIG))
    canary = ["r", "s", "", "500", "500", "1", "3", "service", "", "v2=canary", "c=1", "ip"]
    first, told = made()
    first.outcomes(failures(f"b={parsed.watch.id}", 3), NOW)
    first.outcomes(pack_rows([["r", *canary] for _ in range(3)]), NOW)
    first.tick(NOW + 11)
    second, later = made()
    second.resume(
        msgpack.unpackb(msgpack.packb({**first.keep(), "unknown": 1}), strict_map_key=False), NOW + 11
    )
    second.outcomes(failures(f"b={parsed.watch.id}", 1), NOW + 1)
    second.outcomes(pack_rows([["r", *canary]]), NOW + 12)
    second.tick(NOW + 23)
    assert told == []
    assert [each.kind for each in later] == ["breaker.opened", "canary.abort"]
    second.resume({"static-fallback": {"resets": 1}, "canary-router": {"v2": []}}, NOW)
    assert second.failures == 2, "what cannot be read is told of in the log"
