"""Resets of limits on the nodes' cells, and what limits refused, as operators see it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from kong_plugins.state.cells import Cells, Charge
from kong_plugins.state.connection import key_prefix
from kong_plugins.state.deltas import Delta
from kong_plugins.state.exchange import Exchange
from kong_plugins.state.limit_board import Board, limited
from kong_plugins.state.limits import LimitReset, of_client, part_of, reset_record
from kong_plugins.state.memory import MemoryStore
from kong_plugins.state.operations import limits
from kong_plugins.state.overlay import pack_changes
from kong_plugins.state.records import Put, Record
from kong_plugins.state.redis import RedisStore
from kong_plugins.state.redis_limits import strict_key
from kong_plugins.state.refusals import MAX_KEY
from kong_plugins.state.resets import Resets
from kong_plugins.state.snapshot import snapshot_of_dump

SECOND = 10**9
HOUR = 3600 * SECOND
"""Per request: nothing is paid back within a test."""
ALICE, BOB = "per-user user=https://a|alice", "per-user user=https://a|bob"


class Node:
    def __init__(self) -> None:
        self.fd = Cells.create(1024)
        self.cells = Cells.attach(self.fd)
        self.exchange = Exchange(self.cells, lambda: None)
        self.resets = Resets(self.cells, self.exchange)

    def admits(self, key: str, now: int = 0) -> bool:
        return self.cells.gcra(key, HOUR, 2 * HOUR, now or self.cells.now())[0]

    def exhaust(self, *keys: str) -> None:
        for key in keys:
            while self.admits(key):
                pass

    def outgoing(self) -> bytes:
        data = self.exchange.outgoing(self.cells.now())
        self.exchange.delivered()
        return data or b""


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made = [Node(), Node()]
    yield made
    for node in made:
        del node.exchange, node.resets
        node.cells.close()
        os.close(node.fd)


def delta(*keys: str, changed: float = 1.0) -> Delta:
    records = [reset_record(LimitReset(key, 0.0, "", "kim"))._replace(changed=changed) for key in keys]
    return Delta(1, pack_changes([Put(record) for record in records]), {})


@pytest.mark.parametrize(
    ("key", "forgotten"),
    [
        (ALICE, [ALICE]),
        ("*", [ALICE, BOB, "per-ip ip=203.0.113.7"]),
        ("user https://a|alice", [ALICE]),
        ("user:bob", [BOB]),
        ("203.0.113.7", ["per-ip ip=203.0.113.7"]),
        ("ip ::ffff:203.0.113.7", ["per-ip ip=203.0.113.7"]),
        ("user al", []),
        ("other", []),
    ],
)
def test_a_reset_forgets_its_keys_alone(nodes: list[Node], key: str, forgotten: list[str]) -> None:
    keys = [ALICE, BOB, "per-ip ip=203.0.113.7"]
    node = nodes[0]
    node.exhaust(*keys)
    node.resets.delta(delta(key))
    assert [each for each in keys if node.admits(each)] == forgotten


def test_what_others_used_before_is_not_counted_after(nodes: list[Node]) -> None:
    one, two = nodes
    one.exhaust(ALICE, BOB)
    late, told = one.outgoing(), two.cells.now()
    two.resets.delta(delta(ALICE))
    two.exchange.incoming(late, 0, told)
    assert two.admits(ALICE)
    assert not two.admits(BOB)
    # and what was used here before is not told
    two.exhaust("third")
    two.resets.delta(delta("third"))
    assert two.admits("third")
    one.exchange.incoming(two.outgoing(), 0, one.cells.now())
    now = one.cells.now()
    assert one.cells.tat("third", now) - now <= HOUR


def test_an_image_resets_what_was_not_reset_yet(nodes: list[Node]) -> None:
    clock = [1000.0]
    store = MemoryStore(clock=lambda: clock[0])
    node = nodes[0]
    node.exhaust(ALICE)
    limits.reset(store, ALICE, actor="kim")
    node.resets.image(snapshot_of_dump(store.load()))
    assert node.admits(ALICE)
    node.exhaust(ALICE)
    # a keeper that was started again
    again = Resets(node.cells, node.exchange)
    again.image(snapshot_of_dump(store.load()))
    assert not node.admits(ALICE)
    clock[0] += 1
    limits.reset(store, ALICE, actor="kim")
    again.image(snapshot_of_dump(store.load()))
    assert node.admits(ALICE)


def test_a_lock_that_is_held_is_tried_again(nodes: list[Node]) -> None:
    node = nodes[0]
    node.exhaust(ALICE)
    acquire = node.cells.acquire
    node.cells.acquire = lambda number: False
    node.resets.delta(delta(ALICE))
    node.cells.acquire = acquire
    assert not node.admits(ALICE)
    node.resets.retry()
    assert node.admits(ALICE)


def test_a_reset_that_cannot_be_read_stops_nothing(nodes: list[Node]) -> None:
    bad = Delta(1, pack_changes([Put(Record("limits", "x", {}))]), {})
    nodes[0].resets.delta(bad)
    assert nodes[0].resets.made == 0


@pytest.mark.parametrize(
    ("key", "part"),
    [
        ("ip 203.0.113.7", "ip=203.0.113.7"),
        ("ip:2001:db8::9", "ip=2001:db8::/64"),
        ("2001:db8::/64", "ip=2001:db8::/64"),
        ("user=a|b", "user=a|b"),
        ("token a|1", "token=a|1"),
        ("per-ip ip=203.0.113.7", ""),
        ("*", ""),
        ("ip nonsense", ""),
    ],
)
def test_whose_limits(key: str, part: str) -> None:
    assert part_of(key) == part


def test_a_part_is_a_whole_part() -> None:
    keys = ["a ip=10.0.0.1", "a ip=10.0.0.10 route=x", "b ip=10.0.0.1 route=x", "ip=10.0.0.1 route=y"]
    assert of_client("ip=10.0.0.1", keys) == ["a ip=10.0.0.1", "b ip=10.0.0.1 route=x"]


def test_refusals_are_noted_by_key(nodes: list[Node]) -> None:
    cells = nodes[0].cells
    now = cells.now()
    charges = [Charge("a", SECOND, SECOND), Charge("b", SECOND, 3 * SECOND)]
    assert [cells.gcra_all(charges, now)[0] for _ in range(4)] == [True, False, False, False]
    cells.gcra("x" * (MAX_KEY + 1), SECOND, 0, now)
    (found,) = cells.refusals.latest(now, 9)
    assert found == ("a", 3, now, SECOND, SECOND)
    assert cells.refusals.latest(now + 61 * SECOND, 9) == []
    for number in range(3000):  # bounded
        cells.refusals.note(f"k{number}", 1, 1, now + number)
    assert 300 < len(cells.refusals.latest(now, 9999)) <= 512


def test_a_refusal_is_noted_in_its_own_place_by_any_clock(nodes: list[Node]) -> None:
    """What others noted later, or half, does not push a note anywhere else in the shared memory."""
    cells = nodes[0].cells
    start = cells.memory.refusals_at
    before = bytes(cells.map[:start])
    after = bytes(cells.map[start + 512 * 256 :])
    for number in range(3000):
        cells.refusals.note(f"k{number}", 1, 1, 10**18)
    for number in range(3000):
        cells.refusals.note(f"m{number}", 1, 1, 5)
    cells.map[start + 100 : start + 512 * 256] = b"\xff" * (512 * 256 - 100)
    for _ in range(3):
        cells.refusals.note("torn", 2, 3, 7)
    cells.refusals.note("tor", 2, 3, 7)
    noted = cells.refusals.latest(7, 9)
    assert [each for each in noted if each.key in ("torn", "tor")] == [
        ("torn", 3, 7, 2, 3),
        ("tor", 1, 7, 2, 3),
    ]
    assert bytes(cells.map[:start]) == before
    assert bytes(cells.map[start + 512 * 256 :]) == after


def test_nodes_tell_what_they_refuse(nodes: list[Node], redis_server: object, namespace: str) -> None:
    store = RedisStore(redis_server.url, namespace)  # type: ignore[attr-defined] # a fixture
    client = redis.Redis.from_url(redis_server.url)  # type: ignore[attr-defined]
    prefix = key_prefix(namespace)
    for node in nodes:
        node.exhaust(ALICE)
        Board(node.cells, prefix).tell(client)
    (found,) = store.limited()
    assert (found.key, found.refused, found.nodes, found.capacity, found.seconds) == (ALICE, 2, 2, 2, 3600.0)
    assert 3500 < found.wait <= 3600
    assert 0 < client.ttl(f"{prefix}limited") <= 120
    # a client's limits are found by what nodes told, and the strict ones' counters go
    client.set(strict_key(prefix, ALICE), 5)
    limits.reset(store, "user https://a|alice", actor="kim")
    assert {record.key for record in store.records("limits")} == {"user https://a|alice", ALICE}
    assert not client.exists(strict_key(prefix, ALICE))
    assert store.events(1)[0].data["keys"] == [ALICE]
    client.mset({strict_key(prefix, str(n)): 5 for n in range(3)})
    client.set("kgate:v2:{other}:limit:1", 1)
    limits.reset(store, "*", actor="kim")
    assert client.keys(f"{prefix}limit:*") == []
    assert client.delete("kgate:v2:{other}:limit:1") == 1
    store.close()
    client.close()


def test_what_was_told_long_ago_or_is_damaged_is_left_out() -> None:
    told = {"a": '[100,[["k",2,1.5,5,1.0],["bad"],7]]', "b": '[80,[["old",1,0,1,1]]]', "c": "junk", "d": "[]"}
    assert [(one.key, one.wait) for one in limited(told, 101.0)] == [("k", 0.5)]
