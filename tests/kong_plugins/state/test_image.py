"""An image is opened whole or not at all."""

from __future__ import annotations

import os
import random
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.build_image import build_image
from kong_plugins.state.image import MAGIC, Image, StateFileError, pack_image, sealed_memfd
from kong_plugins.state.records import Record, StateDump
from kong_plugins.state.snapshot import snapshot_of

KEY = b"k" * 32
BULK = "0" * 32


def made(key: bytes = KEY, namespace: str = "shop") -> bytes:
    records = {
        "blocks": [Record("blocks", key, {}) for key in ("ip 10.0.0.1", "cidr 2001:db8::/32", "user kim")],
        "revocations": [Record("revocations", "token https://a|1", {})],
        "canaries": [
            Record("canaries", "c", {"percent": 5, "users": ["kim"], "paused": False}),
        ],
        "lists": [Record("lists", "vip", {"kind": "users", "count": 1, "bulk": BULK})],
    }
    dump = StateDump(42, records, {BULK: {"kim": ""}})
    return build_image(dump, namespace=namespace, built=7.5, key=key, hash_key=b"h" * 16)


IMAGE = made()


def test_round_trip() -> None:
    image = Image.open(IMAGE, KEY, "shop")
    assert (image.version, image.namespace, image.built, image.size) == (42, "shop", 7.5, len(IMAGE))
    snapshot = snapshot_of(image)
    assert snapshot.blocks.match("10.0.0.1", 0.0) is not None
    assert snapshot.canaries["c"].users == frozenset({"kim"})


def test_mapped_from_sealed_memory() -> None:
    fd = sealed_memfd(IMAGE)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"x", 60)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(fd, 0)
    image = Image.open(fd)
    os.close(fd)
    assert snapshot_of(image).blocks.match("2001:db8::7", 0.0) is not None


@pytest.mark.parametrize(
    ("data", "key", "namespace", "says"),
    [
        (b"", KEY, None, "no image"),
        (IMAGE[:40], KEY, None, "no image"),
        (IMAGE[:-1], KEY, None, "cut off"),
        (IMAGE + b"\0", KEY, None, "cut off"),
        (b"X" + IMAGE[1:], KEY, None, "first bytes"),
        (IMAGE[:8] + b"\2" + IMAGE[9:], KEY, None, "schema 2"),
        (IMAGE, b"other", None, "checksum"),
        (IMAGE, b"", None, "checksum"),
        (made(b""), KEY, None, "checksum"),
        (IMAGE, KEY, "default", "namespace 'shop'"),
    ],
)
def test_what_is_refused(data: bytes, key: bytes, namespace: str | None, says: str) -> None:
    with pytest.raises(StateFileError, match=says):
        Image.open(data, key, namespace)


@given(st.integers(0, len(IMAGE) * 8 - 1))
def test_no_bit_may_be_flipped(bit: int) -> None:
    damaged = bytearray(IMAGE)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StateFileError):
        Image.open(bytes(damaged), KEY)


@given(st.integers(0, len(IMAGE) - 1))
def test_no_byte_may_be_missing(size: int) -> None:
    with pytest.raises(StateFileError):
        Image.open(IMAGE[:size], KEY)


@given(st.binary(max_size=200))
def test_other_bytes(data: bytes) -> None:
    for given_data in (data, MAGIC + data, IMAGE[:56] + data):
        for key in (KEY, None):
            with pytest.raises(StateFileError):
                snapshot_of(Image.open(given_data, key))


def test_an_empty_file_is_refused(tmp_path: object) -> None:
    fd = os.memfd_create("empty")
    try:
        with pytest.raises(StateFileError, match="mapped"):
            Image.open(fd, KEY)
    finally:
        os.close(fd)


def repacked(sections: dict[str, bytes]) -> bytes:
    return pack_image(
        sections,
        namespace="shop",
        version=1,
        built=0.0,
        hash_key=b"h" * 16,
        info={"unreadable": 0},
        key=KEY,
    )


@pytest.mark.parametrize("section", sorted(Image.open(IMAGE).sections))
def test_a_missing_section(section: str) -> None:
    sections = {name: bytes(held) for name, held in Image.open(IMAGE).sections.items()}
    del sections[section]
    with pytest.raises(StateFileError):
        snapshot_of(Image.open(repacked(sections), KEY))


@pytest.mark.parametrize("section", sorted(Image.open(IMAGE).sections))
def test_wrong_numbers_under_a_good_checksum_are_an_error_at_most(section: str) -> None:
    # nobody without the key can make such an image; even then the process lives on
    sections = {name: bytes(held) for name, held in Image.open(IMAGE).sections.items()}
    held = sections[section]
    others = [b"", b"\xc1", bytes(24), *(random.Random(seed).randbytes(len(held)) for seed in range(20))]
    for other in others:
        sections[section] = other
        try:
            snapshot = snapshot_of(Image.open(repacked(sections), KEY))
            snapshot.blocks.match("10.0.0.1", 0.0)
            snapshot.blocks.match_user("a", "kim", 0.0)
            snapshot.revocations.reason("https://a", "kim", "1", 0.0, 0.0)
        except (StateFileError, IndexError, ValueError, TypeError, msgpack.UnpackException):
            pass


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x90",
        b"\xc1",
        msgpack.packb({}),
        msgpack.packb({"namespace": "a", "version": 1}),
        msgpack.packb(
            {
                "namespace": "",
                "version": 1,
                "built": 0,
                "hash_key": b"",
                "info": {},
                "sections": {"a": [0, 9]},
            }
        ),
        msgpack.packb(
            {"namespace": "", "version": 1, "built": 0, "hash_key": b"", "info": {}, "sections": {"a": 3}}
        ),
    ],
)
def test_heads_that_are_none(head: bytes) -> None:
    front = struct.pack("<8sIIQ32s", MAGIC, 1, len(head), 56 + len(head), bytes(32))
    with pytest.raises(StateFileError):
        Image.open(front + head)
