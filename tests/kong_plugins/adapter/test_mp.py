"""mp.lua against Python's msgpack, and against bytes that nobody sane sends."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIXED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

INTS = st.integers(min_value=-(2**53), max_value=2**53)
TEXTS = st.binary(max_size=300)
PACKABLE = st.recursive(INTS | TEXTS, lambda inner: st.lists(inner, max_size=20), max_leaves=40)
READABLE = st.recursive(
    INTS | TEXTS | st.booleans(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(TEXTS, inner, max_size=8),
    max_leaves=30,
)


def plain(world, value):
    """A decoded Lua value with bytes kept as bytes; lists and maps told apart by their keys."""
    if hasattr(value, "keys"):
        keys = list(value.keys())
        if all(isinstance(k, int) for k in keys):
            return [plain(world, value[k]) for k in range(1, len(keys) + 1)]
        return {k: plain(world, value[k]) for k in keys}
    return value


def no_empty_maps(value):
    """Lua has one empty table; compare maps and arrays that are empty as equal."""
    if isinstance(value, dict):
        return {k: no_empty_maps(v) for k, v in value.items()} if value else []
    return [no_empty_maps(v) for v in value] if isinstance(value, list) else value


def lua_of(world, value):
    return world.lua.table_from([lua_of(world, v) for v in value]) if isinstance(value, list) else value


@FIXED
@given(value=PACKABLE)
def test_python_reads_what_we_pack(world, value):
    packed = world.module("kgate.mp").pack(lua_of(world, value))
    assert msgpack.unpackb(packed, raw=True, strict_map_key=False) == value


@FIXED
@given(value=READABLE)
def test_we_read_what_python_packs(world, value):
    for as_bin in (True, False):
        packed = msgpack.packb(value, use_bin_type=as_bin)
        assert plain(world, world.module("kgate.mp").decode(packed)) == no_empty_maps(value)


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65535, 65536])
def test_length_prefixes(world, size):
    mp = world.module("kgate.mp")
    assert msgpack.unpackb(mp.text(b"x" * size), raw=True) == b"x" * size
    assert mp.decode(msgpack.packb("x" * size)) == b"x" * size
    assert msgpack.unpackb(mp.array(size) + b"\x01" * size) == [1] * size
    assert len(mp.decode(msgpack.packb([1] * size))) == size


@pytest.mark.parametrize(
    "number", [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**52, -1, -32, -33, -(2**31), -(2**52)]
)
def test_integers(world, number):
    mp = world.module("kgate.mp")
    assert msgpack.unpackb(mp.int(number)) == number
    assert mp.decode(msgpack.packb(number)) == number


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (b"\xd0\xdf", -33),
        (b"\xd1\xff\x00", -256),
        (b"\xd2\xff\xff\x00\x00", -65536),
        (b"\xd3" + b"\xff" * 8, -1),
    ],
)
def test_signed_forms(world, data, number):
    assert world.module("kgate.mp").decode(data) == number


@FIXED
@given(data=st.binary(max_size=80))
def test_garbage_never_raises(world, data):
    result = world.module("kgate.mp").decode(data)
    assert not (isinstance(result, tuple) and result[0] is not None)


@FIXED
@given(value=READABLE, cut=st.integers(min_value=1, max_value=400))
def test_truncated_is_refused(world, value, cut):
    packed = msgpack.packb(value)
    short = packed[: max(0, len(packed) - cut)]
    assert world.module("kgate.mp").decode(short) == (None, b"truncated")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x01\x01", b"bytes after the value"),
        (b"\xdd\xff\xff\xff\xff", b"truncated"),
        (b"\xdf\xff\xff\xff\xff", b"truncated"),
        (b"\xdb\xff\xff\xff\xff", b"truncated"),
        (b"\xc7\x01\x05a", b"unsupported type 199"),
        (b"\xcb" + b"\0" * 8, b"unsupported type 203"),
        (b"\x81\x90\x01", b"map key is not text or an integer"),
        (b"\x81\xc0\x01", b"map key is not text or an integer"),
        (b"\x91" * 40 + b"\x01", b"nested too deep"),
    ],
)
def test_refusals(world, data, reason):
    assert world.module("kgate.mp").decode(data) == (None, reason)


def test_nil_in_an_array_keeps_its_place(world):
    mp = world.module("kgate.mp")
    decoded = mp.decode(msgpack.packb([1, None, 3]))
    assert len(decoded) == 3
    assert world.run("local a, b = ...; return rawequal(a, b)", decoded[2], mp.NULL)
    assert world.py(mp.decode(msgpack.packb({"a": None, "b": 1}))) == {"b": 1}


def test_pack_refuses_what_it_cannot_write(world):
    with pytest.raises(Exception, match="cannot pack a boolean"):
        world.module("kgate.mp").pack(True)
