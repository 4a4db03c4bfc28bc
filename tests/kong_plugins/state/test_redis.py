"""What only the Redis store has: its keys, its errors, its URL, its rights, a load while others write."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from kong_plugins.state.base import Store, StoreError
from kong_plugins.state.build_image import build_image
from kong_plugins.state.cells import Cells
from kong_plugins.state.collections import COLLECTIONS
from kong_plugins.state.connection import connect, display_address, error_text, key_prefix
from kong_plugins.state.exchange import Exchange
from kong_plugins.state.image import Image
from kong_plugins.state.open import open_store
from kong_plugins.state.operations import limits
from kong_plugins.state.records import Delete, Event, Put, Record, StateDump
from kong_plugins.state.redis import RedisStore
from tests.kong_plugins.state.stores import record
from tests.pace import within
from tests.ports import refused_port
from tests.redis_server import RedisServer

EVENT = Event("", 0.0, "block.add", "kim", "x")


@pytest.fixture
def store(redis_server: Any, namespace: str) -> Iterator[RedisStore]:
    made = RedisStore(redis_server.url, namespace)
    yield made
    made.close()


@pytest.fixture
def client(redis_server: Any) -> Iterator[Any]:
    made = redis.Redis.from_url(redis_server.url, decode_responses=True)
    yield made
    made.close()


def everything(store: Store) -> None:
    """Call all that a store can."""
    changes = store.subscribe()
    now = store.now()
    bulk = store.stage([("ip 203.0.113.1", ""), ("ip 203.0.113.2", "{}")])
    rows = record("feed", "sources", kind="blocks", count=2, bulk=bulk)
    store.apply([Put(record(expires=now + 0.05)), Put(record("c", "canaries"), 0), Put(rows)], EVENT)
    version = store.version()
    store.apply([Put(rows._replace(data={**rows.data, "bulk": store.stage([("ip 203.0.113.9", "")])}))])
    while store.now() < now + 0.06:
        pass
    store.apply([Delete("canaries", "c", 1)])
    with pytest.raises(ValueError, match="no rows"):
        store.stage([])
    assert changes.wait(30)
    changes.close()
    dump = store.load()
    (bulk,) = dump.bulk
    assert list(store.rows(bulk)) == list(store.find_rows(bulk, ["ip 203.0.113.9"])) == ["ip 203.0.113.9"]
    assert len(store.changes_since(version) or []) == 2
    assert store.get("sources", "feed") == store.find("sources", ["feed"])[0] == store.records("sources")[0]
    store.append(EVENT)
    assert len(store.events(9)) == len(store.wait("0-0", 0.1)) == 2
    assert len(store.events(9, store.events(9)[0].id)) == 1


def test_keys_are_versioned_and_all_in_one_slot(store: RedisStore, client: Any, namespace: str) -> None:
    """Also the keys that a script makes up: a cluster would refuse them in another slot."""
    seen: set[str] = set()
    ready = threading.Event()

    def watch() -> None:
        with client.monitor() as monitor:
            ready.set()
            for command in monitor.listen():
                if command["command"].startswith("ECHO that was all"):
                    return
                seen.update(re.findall(r'(?<![\w"\\])kgate:[^ "\\]+', command["command"]))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert ready.wait(30)
    everything(store)
    client.echo("that was all")
    watcher.join()
    own = {key for key in seen if namespace in key}
    prefix = f"kgate:v2:{{{namespace}}}:"
    names = {key.removeprefix(prefix) for key in own}
    assert {"version", "log", "events", "expiry", "links", "changed", *COLLECTIONS} < names
    assert sum(name.startswith("bulk:") for name in names) >= 3
    assert {key_slot(key.encode()) for key in own} == {key_slot(prefix.encode())}
    assert all(key.startswith(prefix) for key in own)


@pytest.mark.chaos
def test_a_redis_in_cluster_mode_takes_every_call(redis_program: str, tmp_path: Path) -> None:
    """It refuses keys of other slots, also in scripts. (A node takes writes two seconds after its start.)"""
    server = RedisServer(redis_program, tmp_path, "--cluster-enabled", "yes")
    while server.port > 55_535:  # the cluster's own port is 10,000 above
        server = RedisServer(redis_program, tmp_path, "--cluster-enabled", "yes")
    server.start()
    store = RedisStore(server.url)
    try:
        store._client.execute_command("CLUSTER ADDSLOTS", *range(16_384))
        until = time.monotonic() + 20
        while store._client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            assert time.monotonic() < until
            time.sleep(0.05)
        with pytest.raises(redis.ResponseError, match="same slot"):
            store._client.execute_command("MGET", "a", "b")
        everything(store)
    finally:
        store.close()
        server.kill()


def test_every_key_has_a_cap_or_a_ttl(store: RedisStore, client: Any, namespace: str) -> None:
    """Those without a TTL are known by name; rows that nobody links have one."""
    everything(store)
    store.stage([("ip 203.0.113.1", "")], ttl=50)
    prefix = key_prefix(namespace)
    lasting = {key.removeprefix(prefix) for key in client.scan_iter(f"{prefix}*") if client.ttl(key) < 0}
    assert {name for name in lasting if not name.startswith("bulk:")} <= {
        "version", "log", "events", "expiry", "links", *COLLECTIONS,
    }  # fmt: skip
    assert {name for name in lasting if name.startswith("bulk:")} == {
        f"bulk:{held.data['bulk']}" for held in store.records("sources")
    }
    (left,) = [ttl for key in client.scan_iter(f"{prefix}bulk:*") if (ttl := client.ttl(key)) > 0]
    assert 20 < left <= 50


def test_the_log_is_capped_and_says_that_it_has_a_gap(redis_server: Any, namespace: str) -> None:
    store = RedisStore(redis_server.url, namespace, max_log=200)
    first = store.apply([Put(record())])
    for number in range(5):
        store.apply([Put(record(f"ip 203.0.{number}.{n}")) for n in range(100)])
    assert store.changes_since(first) is None
    last = store.changes_since(first + 4)
    assert last is not None
    assert [len(changes) for _, changes in last] == [100]
    assert store._client.xlen(f"kgate:v2:{{{namespace}}}:log") <= 400
    store.close()


def test_a_version_whose_first_changes_are_cut_off_is_a_gap(
    store: RedisStore, client: Any, namespace: str
) -> None:
    first = store.apply([Put(record())])
    store.apply([Put(record(f"ip 203.0.113.{n}")) for n in range(5)])
    client.xtrim(f"kgate:v2:{{{namespace}}}:log", maxlen=3, approximate=False)
    assert store.changes_since(first) is None


def test_namespaces_are_apart(store: RedisStore, redis_server: Any) -> None:
    store.apply([Put(record())])
    other = RedisStore(redis_server.url, "other")
    assert other.records("blocks") == []
    other.close()


def test_ended_records_leave_redis_in_portions(store: RedisStore, client: Any, namespace: str) -> None:
    prefix = key_prefix(namespace)
    for seconds in (0.5, 5, 20):
        now = store.now()
        for page in range(15):
            store.apply([Put(record(f"ip 10.0.{page}.{n}", expires=now + seconds)) for n in range(100)])
        if store.now() < now + seconds:  # else the machine was slow, and the first have gone already
            break
    assert client.zcard(f"{prefix}expiry") == 1500
    while store.now() < now + seconds + 0.01:
        time.sleep(0.01)
    store.apply([Put(record())])
    assert (client.hlen(f"{prefix}blocks"), client.zcard(f"{prefix}expiry")) == (501, 500)
    # one that ended and is still there counts for nothing
    left = client.zrange(f"{prefix}expiry", -1, -1)[0].removeprefix("blocks ")
    assert store.get("blocks", left) is None
    assert len(store.load().records["blocks"]) == 1
    store.apply([Put(record(left), 0)])
    assert set(client.hkeys(f"{prefix}blocks")) == {record().key, left}


def test_a_store_that_lost_its_version_starts_above_every_earlier_one(
    store: RedisStore, client: Any, namespace: str
) -> None:
    for _ in range(30):
        store.apply([Put(record())])
    before = store.version()
    client.delete(f"kgate:v2:{{{namespace}}}:version")
    # less than a millisecond may have passed: the log knows
    assert store.apply([Put(record())]) > before
    assert store.changes_since(before) is None or store.version() == before + 1


@pytest.mark.parametrize(
    ("collection", "key", "text"),
    [
        ("blocks", "ip 1.2.3.4", "not json"),
        ("blocks", "ip 1.2.3.4", "1 2 3 []"),
        ("blocks", "ip 1.2.3.4", '1 2 3 {"actor":"","reason":"","source":"","expires":null}'),
        ("blocks", "ip 1.2.3.4", '1 2 3 {"actor":"","reason":"","source":"","expires":null,"data":[]}'),
        ("blocks", "ip 1.2.3.4", 'x 2 3 {"actor":"","reason":"","source":"","expires":null,"data":{}}'),
        ("canaries", "c", '1 2 3 {"actor":"","reason":"","source":"","expires":"soon","data":{}}'),
        ("sources", "feed", '1 2 3 {"actor":"","reason":"","source":"","expires":null,"data":{}}'),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out_and_named(
    store: RedisStore, client: Any, namespace: str, collection: str, key: str, text: str
) -> None:
    """One such record must not keep a node from following, nor a revocation from counting."""
    store.apply([Put(Record("revocations", "subject https://a|kim", {}))])
    client.hset(f"kgate:v2:{{{namespace}}}:{collection}", key, text)
    dump = store.load()
    assert (list(dump.unreadable), len(dump.records["revocations"])) == ([(collection, key)], 1)
    info = Image.open(build_image(dump)).info
    assert (info["unreadable"], info["samples"]) == (1, [f"{collection} {key}"])
    if collection != "sources":
        with pytest.raises(StoreError, match="redis://127.0.0.1:.*" + re.escape(key)):
            store.records(collection)


def test_fields_of_a_newer_kgate_are_ignored(store: RedisStore, client: Any, namespace: str) -> None:
    text = '7 1.5 2.5 {"actor":"a","reason":"r","source":"s","expires":null,"data":{"x":1},"simulated":true}'
    client.hset(f"kgate:v2:{{{namespace}}}:blocks", "ip 1.2.3.4", text)
    assert store.records("blocks") == [Record("blocks", "ip 1.2.3.4", {"x": 1}, 7, "a", "r", "s", 1.5, 2.5)]


def test_a_load_while_others_write_is_one_state(redis_server: Any, namespace: str) -> None:
    """The writer moves a mark from collection to collection in one step: whoever sees two of them, or none, has
    mixed two versions. Rows are replaced all the time as well: a set is never seen in part."""
    writer = RedisStore(redis_server.url, namespace)
    reader = RedisStore(redis_server.url, namespace)
    homes = ("blocks", "fallbacks", "revocations")
    for start in range(30):
        writer.apply([Put(record(f"ip 10.0.{start}.{n}")) for n in range(100)])
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            size = number % 7 * 50 + 600
            bulk = writer.stage((f"ip 10.1.{n >> 8}.{n & 255}", "") for n in range(size))
            rows = record("feed", "sources", kind="blocks", count=size, bulk=bulk)
            for _ in range(5):
                here, there = homes[number % 3], homes[(number + 1) % 3]
                writer.apply([Delete(here, "mark"), Put(record("mark", there, n=number)), Put(rows)])
                number += 1

    def marks(dump: StateDump) -> set[str]:
        return {name for name in homes for found in dump.records[name] if found.key == "mark"}

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while not reader.load().bulk:
            pass
        seen = set()
        until = time.monotonic() + 1
        while time.monotonic() < until or len(seen) < 5:
            dump = reader.load()
            seen.add(dump.version)
            assert len(dump.records["blocks"]) in (3000, 3001)
            assert len(marks(dump)) == 1
            ((_, rows),) = dump.bulk.items()
            assert len(rows) == dump.records["sources"][0].data["count"]
        # what a follower makes of the log is what a load says
        held = marks(dump)
        for _, made in reader.changes_since(dump.version) or []:
            held -= {change.collection for change in made if isinstance(change, Delete)}
            puts = {change.record.collection for change in made if isinstance(change, Put)}
            held |= puts.intersection(homes)
            assert len(held) == 1
    finally:
        stop.set()
        thread.join()
        writer.close()
        reader.close()


def test_a_change_without_an_answer_says_that_it_may_have_been_made(
    redis_server: Any, namespace: str
) -> None:
    store = RedisStore(redis_server.url, namespace)
    store._client.connection_pool.connection_kwargs["socket_timeout"] = 0.2
    pauser = redis.Redis.from_url(redis_server.url)
    pauser.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        with pytest.raises(StoreError, match="may have been made"):
            store.apply([Put(record())])
    finally:
        pauser.execute_command("CLIENT", "UNPAUSE")
    pauser.close()
    store.close()


def test_a_redis_without_memory_takes_a_batch_whole_or_not_at_all(own_redis: Any) -> None:
    store = RedisStore(own_redis.url)
    store.apply([Put(record("a", "canaries")), Put(record("b", "canaries"))])
    before = store.load()
    store._client.config_set("maxmemory", 1)
    with pytest.raises(StoreError, match="maxmemory"):
        store.apply([Put(record("c", "canaries")), Delete("canaries", "a")], EVENT)
    with pytest.raises(StoreError, match="maxmemory"):
        store.stage([("ip 203.0.113.1", "")])
    assert store.load() == before
    # what makes room goes on
    store.apply([Delete("canaries", "a")], EVENT)
    assert [found.key for found in store.records("canaries")] == ["b"]
    assert len(store.events(9)) == 1
    store.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            f"Error running script (call to f_{'a' * 40}): @user_script:172: @user_script: 172: -OOM command not "
            "allowed when used memory > 'maxmemory'.",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        (
            f"OOM command not allowed when used memory > 'maxmemory'. script: {'a' * 40}, on @user_script:40.",
            "OOM command not allowed when used memory > 'maxmemory'.",
        ),
        (
            "Command # 1 (HSET k user:a) b of pipeline caused error: You can't write) of pipeline caused error: "
            "You can't write against a read only replica.",
            "You can't write against a read only replica.",
        ),
        ("x" * 301, "x" * 300),
    ],
)
def test_an_error_is_told_without_script_and_values(error: str, told: str) -> None:
    assert error_text(redis.ResponseError(error)) == told


def test_why_a_redis_takes_no_change(own_redis: Any) -> None:
    store = RedisStore(own_redis.url)
    for setting, says in (
        ("CONFIG SET maxmemory 1", "OOM command not allowed when used memory > 'maxmemory'."),
        ("REPLICAOF 127.0.0.1 1", "READONLY You can't write against a read only replica."),
    ):
        store._client.execute_command(*setting.split())
        with pytest.raises(StoreError) as changed:
            store.apply([Put(record())])
        with pytest.raises(StoreError) as staged:
            store.stage([("ip 203.0.113.1", "")])
        for error in changed, staged:
            assert str(error.value) in (
                f"{own_redis.url}: {says}",
                f"{own_redis.url}: {says.partition(' ')[2]}",
            )
        store._client.execute_command("CONFIG", "SET", "maxmemory", "0")
    store.close()


def test_a_version_that_is_none_is_an_error(store: RedisStore, client: Any, namespace: str) -> None:
    store.apply([Put(record())])
    client.set(key_prefix(namespace) + "version", "garbage")
    for call in (store.version, store.load, lambda: store.changes_since(1)):
        with pytest.raises(StoreError, match="holds 'garbage', no version"):
            call()
    # a change sets it right
    store.apply([Put(record("ip 203.0.113.8"))])
    assert len(store.load().records["blocks"]) == 2


def documented_acl() -> str:
    """The rules in docs/state.md."""
    text = (Path(__file__).parents[3] / "docs" / "state.md").read_text()
    return text.partition("ACL SETUSER kgate on >PASSWORD")[2].partition("```")[0]


def test_an_acl_user_limited_to_the_namespace_is_enough(
    redis_server: Any, client: Any, namespace: str
) -> None:
    rules = documented_acl().replace("NAMESPACE", namespace).split()
    client.execute_command("ACL", "SETUSER", "kgate", "reset", "on", ">s3cret", *rules)
    url = redis_server.url.replace("redis://", "redis://kgate:s3cret@")
    store = RedisStore(url, namespace)
    everything(store)
    limits.reset(store, "*", actor="kim")
    exchanged_as(url, namespace)
    other = RedisStore(url, "other")
    for call in (other.version, lambda: other.apply([Put(record())]), other.subscribe, other.load):
        with pytest.raises(StoreError, match=r"(?i)permission|NOPERM") as caught:
            call()
        assert "s3cret" not in str(caught.value)
    wrong = RedisStore(url.replace("s3cret", "wr0ng"), namespace)
    with pytest.raises(StoreError) as caught:
        wrong.version()
    assert "wr0ng" not in str(caught.value)
    for made in (store, other, wrong):
        made.close()
    client.execute_command("ACL", "DELUSER", "kgate")


def exchanged_as(url: str, namespace: str) -> None:
    """A node's limits, exchanged and told by this user."""
    fd = Cells.create(64)
    cells = Cells.attach(fd)
    exchange = Exchange(cells, lambda: connect(url, decode_responses=False), namespace)
    while cells.gcra("k", 10**12, 10**12, cells.now())[0]:
        pass
    store = RedisStore(url, namespace)
    exchange.start()
    try:
        deadline = time.monotonic() + 30
        while not (exchange.connected and exchange.sent and store.limited()):
            assert time.monotonic() < deadline, exchange.error
            time.sleep(0.01)
        assert not exchange.failures, exchange.error
    finally:
        exchange.close()
        store.close()
        cells.close()
        os.close(fd)


def test_options_of_the_connection_can_be_set() -> None:
    client = connect("redis://h/0", socket_timeout=None)
    assert client.connection_pool.connection_kwargs["socket_timeout"] is None


def test_nothing_listens(unused_port: int) -> None:
    store = RedisStore(f"redis://:secret@127.0.0.1:{unused_port}/0")
    with pytest.raises(StoreError) as caught:
        store.version()
    assert f"redis://127.0.0.1:{unused_port}/0" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError):
        store.subscribe()


@pytest.mark.usefixtures("real_patience")
def test_a_redis_that_hangs_costs_about_a_second() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        with pytest.raises(StoreError):
            store.now()
        assert time.monotonic() - started < within(1.8)
        store.close()


@pytest.fixture
def unused_port() -> Iterator[int]:
    with refused_port() as port:
        yield port


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://kim:secret@redis.example:6380/1?ssl_cert_reqs=none", "rediss://redis.example:6380/1"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("redis://host/0?password=secr@et", "redis://..."),
        ("redis://:se/cret@host/0", "redis://..."),
        ("redis://:se?cret@host/0", "redis://..."),
        ("redis://:se#cret@host/0", "redis://..."),
        ("redis://[secret", "redis://..."),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("secret", "(not a URL)"),
    ],
)
def test_messages_show_the_address_without_the_password(url: str, shown: str) -> None:
    assert display_address(url) == shown
    assert "secret" not in display_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://host:port/0",
        "redis://[x",
        "redis://host/zero",
        "redis://host/0/1",
        "redis://host/0?bogus=1",
        "redis://host/0?decode_responses=false",
        "unix:///run/redis.sock?protocol=3",
    ],
)
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="redis URL"):
        open_store(url)


@pytest.mark.parametrize("name", ["", "a b", "a}", "{a}", "x" * 65])
def test_wrong_namespaces(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        open_store("redis://127.0.0.1/0", name)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, "memory://"),
        ("memory://", "memory://"),
        ("redis://h/0", "redis://h/0"),
        ("rediss://h/0", "rediss://h/0"),
    ],
)
def test_open_store_chooses_by_url(url: str | None, address: str) -> None:
    assert open_store(url).address == address
