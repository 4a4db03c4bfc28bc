"""Effects of a verdict."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("flat", "headers"),
    [
        (None, {}),
        ([], {}),
        (["A", "1", "B", "2"], {"A": "1", "B": "2"}),
        (["A", "1", "A", "2", "A", "3"], {"A": ["1", "2", "3"]}),
    ],
)
def test_headers(world, flat, headers):
    assert (
        world.py(world.module("kgate.apply").headers(None if flat is None else world.table(flat))) == headers
    )


def effects(world, verdict, ctx=None):
    world.request()
    return world.module("kgate.apply").request_effects(world.table(ctx or {}), world.table(verdict))


@pytest.mark.parametrize(
    ("name", "value", "redacted"),
    [
        ("X-Passport", "short", True),
        ("Txn-Token", "short", True),
        ("X-Custom", "eyJhbGciOi", True),
        ("X-Canary", "blue", False),
    ],
)
def test_service_headers_and_redaction(world, name, value, redacted):
    effects(world, {"s": [name, value]})
    assert world.py(world.fake[b"set_headers"]) == {name: value}
    expected = [[f"request.headers.{name.lower()}", "REDACTED", "replace"]] if redacted else {}
    assert world.py(world.fake[b"serialize"]) == expected


def test_nothing_is_redacted_where_nobody_logs(world):
    plugins = world.run('return { [0] = 1, { name = "jwt", handler = {} } }')
    world.request()
    ctx = world.table({"plugins": {"ws": {}}})
    ctx[b"plugins"][b"ws"][b"plugins"] = plugins
    assert world.module("kgate.apply").request_effects(ctx, world.table({"s": ["X-Passport", "eyJ"]}))
    assert world.py(world.fake[b"set_headers"]) == {"X-Passport": "eyJ"}
    assert world.py(world.fake[b"serialize"]) == {}


@pytest.mark.parametrize("count", range(6))
def test_all_headers_are_set_in_their_order(world, count):
    flat = [word for number in range(count) for word in (f"X-{number}", str(number))]
    effects(world, {"s": [*flat, "X-0", "again"]})
    expected = {f"X-{number}": str(number) for number in range(count)} | {"X-0": "again"}
    assert world.py(world.fake[b"set_headers"]) == expected


def test_an_empty_value_removes_the_header(world):
    effects(world, {"s": ["Authorization", ""]})
    assert world.py(world.fake[b"set_headers"]) == {}
    assert world.py(world.fake[b"cleared_headers"]) == ["Authorization"]


@pytest.mark.parametrize(
    ("upstream", "ctx", "known", "taken", "used"),
    [
        ("blue", {"balancer_data": {"type": "name"}}, True, True, ["blue"]),
        ("blue", {}, True, True, ["blue"]),
        ("", {"balancer_data": {"type": "ipv4"}}, True, True, {}),
        ("blue", {"balancer_data": {"type": "ipv4"}}, True, False, {}),
        ("blue", {"balancer_data": {"type": "name"}}, False, False, {}),
    ],
)
def test_upstream(world, upstream, ctx, known, taken, used):
    world.fake[b"upstream_known"] = known
    assert effects(world, {"u": upstream}, ctx) is taken
    assert world.py(world.fake[b"upstreams"]) == used
    assert bool(world.py(world.fake[b"errors"])) is not taken


def test_marks_wait_for_the_response(world):
    assert effects(world, {"h": ["X-Mark", "1"]}) is True
    assert world.py(world.fake[b"response_headers"]()) == {}


def test_response_marks_replace_but_cookies_add(world):
    world.request()
    world.run("ngx.header['Set-Cookie'] = 'service=1'; ngx.header['X-Mark'] = 'forged'")
    world.module("kgate.apply").response_marks(world.table(["Set-Cookie", "device=2", "X-Mark", "ours"]))
    assert world.py(world.fake[b"response_headers"]()) == {
        "set-cookie": ["service=1", "device=2"],
        "x-mark": "ours",
    }
