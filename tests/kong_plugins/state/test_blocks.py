"""The index over blocks: expiry, the most specific one, users; and what may be blocked."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.base import Block
from kong_plugins.state.blocks import Blocks, is_live, parse_target
from kong_plugins.state.snapshot import build, empty_snapshot


def block(value: str, expires: float | None = None, kind: str = "") -> Block:
    return Block(kind or ("cidr" if "/" in value else "ip"), value, "", "", 0.0, expires)


octets = st.integers(0, 7)
values = st.one_of(
    st.builds("10.0.0.{}".format, octets),
    st.builds(lambda o, n: str(ip_network((f"10.0.0.{o}", n), strict=False)), octets, st.integers(24, 31)),
)
blocks = st.builds(block, values, st.one_of(st.none(), st.floats(0, 10)))


@given(st.lists(blocks, unique_by=lambda b: b.value), octets, st.floats(0, 12))
def test_match_is_what_brute_force_says(held: list[Block], octet: int, now: float) -> None:
    address = f"10.0.0.{octet}"
    covering = [b for b in held if ip_address(address) in ip_network(b.value) and is_live(b, now)]
    found = Blocks(held).match(address, now)
    if not covering:
        assert found is None
    else:
        assert found == max(covering, key=lambda b: ip_network(b.value).prefixlen)


def test_a_block_ends_at_its_second_and_a_wider_one_goes_on() -> None:
    index = Blocks([block("10.0.0.1", 100.0), block("10.0.0.0/24", 200.0)])
    assert index.match("10.0.0.1", 99.9) == block("10.0.0.1", 100.0)
    assert index.match("10.0.0.1", 100.0) == block("10.0.0.0/24", 200.0)
    assert index.match("10.0.0.1", 200.0) is None
    assert len(index) == 2


@pytest.mark.parametrize("ip", ["::ffff:10.0.0.1", "10.0.0.1", "0:0::ffff:a00:1"])
def test_every_spelling_of_a_blocked_address_is_blocked(ip: str) -> None:
    assert Blocks([block("10.0.0.1")]).match(ip, 0.0) is not None


@pytest.mark.parametrize("ip", ["10.0.0.2", "::a00:1", "", "unix:", "nonsense"])
def test_others_are_not(ip: str) -> None:
    assert Blocks([block("10.0.0.1")]).match(ip, 0.0) is None


@pytest.mark.parametrize(
    ("value", "issuer", "subject", "matches"),
    [
        ("kim", "https://a", "kim", True),
        ("https://a|kim", "https://a", "kim", True),
        ("https://a|kim", "https://b", "kim", False),
        ("kim", "https://a", "Kim", False),
        ("10.0.0.1", "https://a", "10.0.0.1", True),
    ],
)
def test_users(value: str, issuer: str, subject: str, matches: bool) -> None:
    index = Blocks([block(value, 10.0, "user")])
    assert (index.match_user(issuer, subject, 9.0) is not None) == matches
    assert index.match_user(issuer, subject, 10.0) is None


def test_a_user_block_blocks_no_address() -> None:
    index = Blocks([block("10.0.0.1", kind="user")])
    assert index.match("10.0.0.1", 0.0) is None
    assert len(index) == 1


@pytest.mark.parametrize("kind", ["user", "token"])
def test_whether_there_is_one_of_a_kind(kind: str) -> None:
    other = "token" if kind == "user" else "user"
    index = Blocks([block("kim", kind=kind), block("10.0.0.1"), block("badbot", kind="agent")])
    assert (index.has_kind(kind), index.has_kind(other)) == (True, False)
    assert not Blocks([]).has_kind(kind)


def test_snapshots() -> None:
    assert empty_snapshot().version == 0
    assert empty_snapshot().blocks.match("10.0.0.1", 0.0) is None
    assert empty_snapshot().blocks.match_user("i", "s", 0.0) is None
    assert build(7, [block("10.0.0.1")], ()).blocks.match("10.0.0.1", 0.0) is not None


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("10.0.0.1", ("ip", "10.0.0.1")),
        ("10.0.0.1/32", ("ip", "10.0.0.1")),
        ("::ffff:10.0.0.1", ("ip", "10.0.0.1")),
        ("10.0.0.0/8", ("cidr", "10.0.0.0/8")),
        ("2001::/16", ("cidr", "2001::/16")),
        ("2001:DB8::1", ("ip", "2001:db8::1")),
        ("user:kim", ("user", "kim")),
        ("user:https://a|kim lee", ("user", "https://a|kim lee")),
    ],
)
def test_targets(text: str, target: tuple[str, str]) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.0.0.0/0", "wider than /8"),
        ("10.0.0.0/7", "wider than /8"),
        ("::/0", "wider than /16"),
        ("2000::/15", "wider than /16"),
        ("::ffff:0:0/96", "wider than /8"),
        ("::ffff:0:0/95", "bits set"),
        ("10.0.0.1/24", "bits set"),
        ("kim", "'kim'"),
        ("", "''"),
        ("user:", "printable"),
        ("user:a\nb", "printable"),
        ("user:" + "x" * 513, "printable"),
    ],
)
def test_no_targets(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_target(text)
