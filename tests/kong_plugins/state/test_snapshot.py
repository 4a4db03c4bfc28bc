"""Image and overlay together say what a slow and obviously right reading of the records says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.base import Block
from kong_plugins.state.build_image import build_image
from kong_plugins.state.image import Image
from kong_plugins.state.overlay import MAX_ROWS, pack_changes, unpack_changes
from kong_plugins.state.records import Change, Delete, Put, Record, Rows, StateDump
from kong_plugins.state.snapshot import Snapshot, build, empty_snapshot, snapshot_of, snapshot_of_dump

FOREVER = 1e18
ends = st.one_of(st.none(), st.integers(1, 10).map(float))


def network_text(version: int, host: int, bits: int) -> str:
    if version == 4:
        network = ip_network((f"10.0.{host >> 2}.{host & 3}", min(bits, 32)), strict=False)
    else:
        network = ip_network((f"2001:db8::{host >> 2}:0:0:0:{host & 3}", bits), strict=False)
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


networks = st.builds(
    network_text,
    st.sampled_from([4, 6]),
    st.integers(0, 15),
    st.sampled_from([16, 22, 24, 30, 31, 32, 48, 63, 64, 65, 126, 127, 128]),
)
keys = st.one_of(
    networks.map(lambda text: f"{'cidr' if '/' in text else 'ip'} {text}"),
    st.sampled_from(
        ["user kim", "user https://a|kim", "token 1", "token https://a|1", "agent curl", "agent curly"]
    ),
)
rows = st.dictionaries(keys, st.sampled_from(["", '{"expires":3}', '{"reason":"r"}']), max_size=5)
names = st.sampled_from(["one", "two"])
steps = st.one_of(
    st.tuples(st.just("put"), keys, ends),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("import"), names, rows, ends),
    st.tuples(st.just("drop"), names),
)
ADDRESSES = [
    *(f"10.0.{n >> 2}.{n & 3}" for n in range(16)),
    *(f"2001:db8::{n >> 2}:0:0:0:{n & 3}" for n in range(16)),
    "::ffff:10.0.0.1",
    "10.9.9.9",
    "11.0.0.0",
    "2001:db8:0:9::",
    "nonsense",
]


@cache
def covering_length(key: str, ip: str) -> int | None:
    """The prefix length of a key's network, None unless it holds the address."""
    kind, _, value = key.partition(" ")
    try:
        address = ip_address(ip)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    if kind not in ("ip", "cidr") or address not in ip_network(value):
        return None
    return ip_network(value).prefixlen


class Model:
    """The records and rows, and a walk over all of them for each question."""

    def __init__(self) -> None:
        self.blocks: dict[str, Record] = {}
        self.sources: dict[str, Record] = {}
        self.bulk: dict[str, Rows] = {}
        self.version = 0

    def step(self, step: tuple[Any, ...]) -> tuple[list[Change], Mapping[str, Rows]]:
        self.version += 1
        match step:
            case ("put", key, end):
                record = Record("blocks", key, {}, self.version, "kim", "by hand", expires=end)
                self.blocks[key] = record
                return [Put(record)], {}
            case ("delete", key):
                self.blocks.pop(key, None)
                return [Delete("blocks", key)], {}
            case ("import", name, held, end):
                bulk = f"{self.version:032x}"
                data = {"kind": "blocks", "count": len(held), "bulk": bulk}
                self.sources[name] = Record("sources", name, data, 1, "kim", f"set {name}", expires=end)
                self.bulk[bulk] = held
                return [Put(self.sources[name])], {bulk: held}
            case ("drop", name):
                self.sources.pop(name, None)
                return [Delete("sources", name)], {}
        raise AssertionError(step)

    def dump(self) -> StateDump:
        records = {"blocks": list(self.blocks.values()), "sources": list(self.sources.values())}
        return StateDump(self.version, records, self.bulk)

    def entries(self, now: float) -> list[tuple[str, str]]:
        """(key, reason) of all live targets, those of the operator first."""
        held = [(key, one.reason, one.expires or FOREVER) for key, one in self.blocks.items()]
        for source in self.sources.values():
            for key, text in self.bulk[source.data["bulk"]].items():
                end = min(3.0 if "expires" in text else FOREVER, source.expires or FOREVER)
                held.append((key, "r" if "reason" in text else source.reason, end))
        return [(key, reason) for key, reason, end in held if now < end]

    def found(self, ip: str, now: float) -> list[tuple[str, str]]:
        """What may be answered for an address: of the narrowest network the operator's own, else any set's."""
        covering = [
            (length, key, reason)
            for key, reason in self.entries(now)
            if (length := covering_length(key, ip)) is not None
        ]
        narrowest = max((length for length, *_ in covering), default=0)
        best = [(key, reason) for length, key, reason in covering if length == narrowest]
        return [one for one in best if one[1] == "by hand"] or best

    def texts(self, kind: str, values: list[str], now: float) -> list[tuple[str, str]]:
        """What may be answered for a text."""
        return [one for one in self.entries(now) if one[0] in [f"{kind} {value}" for value in values]]


def said(block: Block | None) -> tuple[str, str] | None:
    return None if block is None else (f"{block.kind} {block.value}", block.reason)


def check(snapshot: Snapshot, model: Model, now: float) -> None:
    assert snapshot.version == model.version
    for ip in ADDRESSES:
        assert said(snapshot.blocks.match(ip, now)) in (model.found(ip, now) or [None]), ip
        assert snapshot.blocks.holds(ip, now) == bool(model.found(ip, now)), ip
    for issuer, user in (("https://a", "kim"), ("https://b", "kim"), ("https://a", "lee")):
        expected = model.texts("user", [f"{issuer}|{user}", user], now) or [None]
        assert said(snapshot.blocks.match_user(issuer, user, now)) in expected
        assert snapshot.blocks.has_kind("user") or expected == [None]
        expected = model.texts("token", [f"{issuer}|1", "1"], now) or [None]
        assert said(snapshot.blocks.match_token(issuer, "1", now)) in expected
        assert snapshot.blocks.has_kind("token") or expected == [None]
    for agent in ("A Curly/1", "CURL", "firefox"):
        expected = [
            (key, reason)
            for key, reason in model.entries(now)
            if key.startswith("agent ") and key[6:] in agent.lower()
        ] or [None]
        assert said(snapshot.blocks.match_agent(agent, now)) in expected
    live = len(model.blocks) + sum(len(model.bulk[s.data["bulk"]]) for s in model.sources.values())
    assert len(snapshot.blocks) == live


@given(
    st.lists(steps, max_size=10),
    st.lists(st.lists(steps, min_size=1, max_size=3), max_size=5),
    st.sampled_from([0.0, 2.5, 3.0, 6.0]),
)
def test_image_and_overlay_say_what_the_records_say(
    before: list[tuple[Any, ...]], after: list[list[tuple[Any, ...]]], now: float
) -> None:
    model = Model()
    for step in before:
        model.step(step)
    snapshot = snapshot_of(Image.open(build_image(model.dump(), key=b"k"), b"k"))
    check(snapshot, model, now)
    for batch in after:
        changes: list[Change] = []
        held: dict[str, Rows] = {}
        for step in batch:
            more, more_rows = model.step(step)
            changes += more
            held |= more_rows
        earlier, told = snapshot, [snapshot.blocks.match(ip, now) for ip in ADDRESSES]
        snapshot = snapshot.applied(unpack_changes(pack_changes(changes)), model.version, held)
        check(snapshot, model, now)
        # the one before has not changed
        assert told == [earlier.blocks.match(ip, now) for ip in ADDRESSES]
    check(snapshot_of_dump(model.dump()), model, now)


def test_rows_that_an_overlay_does_not_take_want_an_image() -> None:
    model = Model()
    first, _ = model.step(("import", "one", {"ip 10.0.0.1": ""}, None))
    snapshot = snapshot_of_dump(model.dump())
    for held in ({}, {"b" * 32: dict.fromkeys(map(str, range(MAX_ROWS + 1)), "")}):
        changed = first[0].record._replace(data={"kind": "blocks", "count": 2, "bulk": "b" * 32})
        later = snapshot.applied([Put(changed)], 9, held)
        assert later.wants_image
        assert not snapshot.wants_image
        # until then the old rows count
        assert later.blocks.match("10.0.0.1", 0.0) is not None
        assert later.applied([Delete("sources", "one")], 10).blocks.match("10.0.0.1", 0.0) is None


def test_what_cannot_be_read_is_left_out_and_counted() -> None:
    records = {
        "blocks": [Record("blocks", key, {}) for key in ("asn 1", "ip 010.0.0.1", "ip 10.0.0.1")],
        "canaries": [Record("canaries", "c", {})],
        "revocations": [Record("revocations", "jti 1", {})],
        "sources": [Record("sources", "s", {"kind": "blocks", "count": 3, "bulk": "0" * 32})],
        "lists": [
            Record("lists", "l", {"kind": "addresses", "count": 2, "bulk": "1" * 32}),
            Record("lists", "m", {"kind": "colours", "count": 2, "bulk": "1" * 32}),
        ],
    }
    bulk = {
        "0" * 32: {"ip 10.0.0.2": "", "ip x": "", "cidr 10.0.0.1/24": "", "ip 10.0.0.3": "{broken"},
        "1" * 32: {"ip 10.0.0.4": "", "kim": ""},
    }
    snapshot = snapshot_of_dump(StateDump(1, records, bulk))
    assert snapshot.unreadable == 2 + 1 + 1 + 3 + 2
    assert snapshot.blocks.match("10.0.0.1", 0.0) is not None
    assert snapshot.blocks.match("10.0.0.2", 0.0) is not None
    assert snapshot.lists["l"].has_address("10.0.0.4")
    later = snapshot.applied(
        [Put(Record("blocks", "asn 2", {})), Put(Record("blocks", "ip 10.0.0.9", {}))], 2
    )
    assert later.unreadable == snapshot.unreadable + 1
    assert later.blocks.match("10.0.0.9", 0.0) is not None


def test_records_of_all_small_collections() -> None:
    def put(collection: str, key: str, **data: Any) -> Put:
        return Put(Record(collection, key, data, 1))

    def put_until(end: float, collection: str, key: str, **data: Any) -> Put:
        return Put(Record(collection, key, data, 1, expires=end))

    changes = [
        put("fallbacks", "tenant order", name="maintenance"),
        put_until(5.0, "fallbacks", "route cart", name=None),
        put("breakers", "*", state="open"),
        put_until(5.0, "breakers", "service pay", state="closed"),
        put("breakers", "route cart", state="reset"),
        put("revocations", "token https://a|1"),
        put_until(5.0, "revocations", "subject https://a|kim"),
        put("revocations", "before https://b", issued_before=100.0),
        put("canaries", "new", percent=5.0, users=None, paused=False),
        put("jwks", "main", keys=[]),
        put("allows", "ip 10.0.0.1"),
    ]
    records: dict[str, list[Record]] = {}
    for change in changes:
        records.setdefault(change.record.collection, []).append(change.record)
    through_image = snapshot_of_dump(StateDump(1, records, {}))
    through_overlay = empty_snapshot().applied(changes, 1)
    for snapshot in (through_image, through_overlay):
        forced = snapshot.fallbacks.forced
        assert forced("order", "pay", "cart", 0.0).value == "cart"
        assert forced("order", "pay", "cart", 5.0).name == "maintenance"
        assert forced("other", None, "", 5.0) is None
        assert snapshot.breakers.forced("pay", "cart", 0.0) == "closed"
        assert snapshot.breakers.forced("pay", "cart", 5.0) == "open"
        revoked = snapshot.revocations.reason
        assert revoked("https://a", "lee", "1", 0.0, 0.0) == "token_revoked"
        assert revoked("https://a", "kim", "2", 0.0, 4.9) == "subject_revoked"
        assert revoked("https://a", "kim", None, 0.0, 5.0) == ""
        assert revoked("https://b", None, "1", 99.9, 0.0) == "issued_before"
        assert revoked("https://b", None, "1", None, 0.0) == "issued_before"
        assert revoked("https://b", None, "1", 100.0, 0.0) == ""
        assert revoked("https://b", "\ud800", "\ud800", 100.0, 0.0) == ""
        assert snapshot.canaries.get("new").percent == 5.0
        assert snapshot.canaries.get("old") is None
        assert list(snapshot.canaries) == ["new"]
        assert len(snapshot.canaries) == 1
        assert "new" in snapshot.canaries
        assert snapshot.records("jwks")["main"].data == {"keys": []}
        assert snapshot.allows.match("10.0.0.1", 0.0) is not None
        gone = snapshot.applied([Delete(c.record.collection, c.record.key) for c in changes], 2)
        assert gone.fallbacks.forced("order", "pay", "cart", 0.0) is None
        assert gone.breakers.forced("pay", "cart", 0.0) is None
        assert gone.revocations.reason("https://a", "kim", "1", 0.0, 0.0) == ""
        assert gone.revocations.reason("https://b", "kim", "1", 0.0, 0.0) == ""
        assert gone.canaries == {}
        assert gone.records("jwks") == {}
        assert gone.allows.match("10.0.0.1", 0.0) is None
        with pytest.raises(KeyError):
            gone.canaries["new"]


@pytest.mark.parametrize("through", ["image", "overlay"])
def test_named_lists(through: str) -> None:
    held = {
        "vip": Record("lists", "vip", {"kind": "users", "count": 2, "bulk": "1" * 32}, expires=9.0),
        "office": Record("lists", "office", {"kind": "addresses", "count": 2, "bulk": "2" * 32}),
    }
    bulk = {
        "1" * 32: {"kim": "", "https://a|lee": ""},
        "2" * 32: {"cidr 10.0.0.0/24": "", "cidr 2001:db8::/32": "", "ip 10.0.0.7": ""},
    }
    if through == "image":
        snapshot = snapshot_of_dump(StateDump(1, {"lists": list(held.values())}, bulk))
    else:
        snapshot = empty_snapshot().applied([Put(record) for record in held.values()], 1, bulk)
    lists = snapshot.lists
    assert sorted(lists) == ["office", "vip"]
    assert lists["vip"].has_user("https://b", "kim")
    assert lists["vip"].has_user("https://a", "lee")
    assert not lists["vip"].has_user("https://b", "lee")
    assert not lists["vip"].has_user("https://b", "kim", 9.0)
    assert not lists["vip"].has_address("10.0.0.7")
    assert lists["office"].has_address("::ffff:10.0.0.200")
    assert lists["office"].has_address("2001:db8:ffff::")
    assert not lists["office"].has_address("10.0.1.0")
    assert not lists["office"].has_address("nonsense")
    assert not lists["office"].has_user("https://b", "kim")
    assert len(lists["vip"]) == 2
    gone = snapshot.applied([Delete("lists", "vip")], 2).lists
    assert list(gone) == ["office"]
    assert gone.get("vip") is None
    assert len(gone) == 1


def test_build_and_empty() -> None:
    assert empty_snapshot().version == 0
    assert len(empty_snapshot().blocks) == 0
    block = Block("cidr", "10.0.0.0/24", "r", "a", 1.5, 9.5, "cli", 3)
    assert build(7, [block], ()).blocks.match("10.0.0.1", 0.0) == block
    with pytest.raises(ValueError, match=r"10\.0\.0\.300"):
        build(7, [block._replace(kind="ip", value="10.0.0.300")], ())


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x01", b"\x91\x01", b"\x91\x92\x91\x01\x02\x03"])
def test_no_changes(packed: bytes) -> None:
    with pytest.raises(ValueError, match="no changes"):
        unpack_changes(packed)
