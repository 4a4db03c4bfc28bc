"""The record that the server's parser reads, field by field."""

from __future__ import annotations

import pytest

from kong_plugins.engine.facts import parse_facts

PLAN = {"route": "r", "service": "s", "tenant": "order"}


def facts_of(world, names=("authorization", "User-Agent", "origin"), **request):
    world.request(**request)
    record = world.lua.table()
    count = world.module("kgate.facts").fill(
        record, world.lua.globals()[b"ngx"][b"ctx"], world.table(PLAN), world.table(list(names))
    )
    listed = world.py(record)
    assert len(listed) == count
    return parse_facts(listed)


def test_all_fields(world):
    facts = facts_of(
        world,
        vars={"remote_addr": "::ffff:192.0.2.7", "scheme": "https", "host": "order.example.com"},
        headers=[
            ("Authorization", "Bearer x"),
            ("User_Agent", "curl"),
            ("Other", "no"),
            ("traceparent", "00-a"),
        ],
        method="POST",
        path="/login",
        raw_path="/%6cogin",
    )
    assert facts._asdict() == {
        "request_id": "rid1",
        "ip": "192.0.2.7",
        "scheme": "https",
        "method": "POST",
        "host": "order.example.com",
        "path": "/login",
        "raw_path": "/%6cogin",
        "route": "r",
        "service": "s",
        "tenant": "order",
        "traceparent": "00-a",
        "truncated": frozenset(),
        "headers": {"authorization": "Bearer x", "user-agent": "curl"},
        "identity": None,
        "arm": "",
    }


@pytest.mark.parametrize(
    ("address", "ip"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:0:1", "::ffff:0:1"),
        ("unix:", "unix:"),
    ],
)
def test_address(world, address, ip):
    assert world.module("kgate.facts").unfold(address.encode()) == ip.encode()


@pytest.mark.parametrize(("size", "truncated"), [(8192, set()), (8193, {"origin"})])
def test_long_headers_are_cut_and_named(world, size, truncated):
    facts = facts_of(world, headers=[("Origin", "o" * size)])
    assert len(facts.headers["origin"]) == 8192
    assert facts.truncated == truncated


def test_two_cut_headers(world):
    facts = facts_of(world, headers=[("Origin", "o" * 9000), ("Authorization", "a" * 9000)])
    assert facts.truncated == {"origin", "authorization"}


def test_names_are_never_code(world):
    names = ['x"] = os.exit()', "x\n]]", "x\\", "%d%q", "", "origin"]
    facts = facts_of(world, names, headers=[("Origin", "o"), (names[0], "a"), (names[1], "b")])
    assert facts.headers == {"origin": "o", names[0]: "a", names[1]: "b"}


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_names(world, count):
    names = [f"x-{number}" for number in range(count)]
    facts = facts_of(world, names, headers=[(name.upper(), name) for name in names[::-2]])
    assert facts.headers == {name: name for name in names[::-2]}


def test_kongs_own_request_id_comes_first(world):
    assert facts_of(world, ctx={"request_id": "from-ctx"}).request_id == "from-ctx"


def test_bytes_that_are_not_utf8_pass_through(world):
    assert facts_of(world, headers=[("Origin", "\udcff")]).headers["origin"] == "\udcff"


def test_before_kong_3_5_the_request_id_is_nginx_own(world):
    world.request()
    variables = world.fake[b"vars"]
    variables[b"kong_request_id"], variables[b"request_id"] = None, b"nginx-1"
    assert world.module("kgate.facts").request_id(world.table({})) == b"nginx-1"
