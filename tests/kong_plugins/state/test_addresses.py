"""Canonical addresses, and the index against brute force."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kong_plugins.state.addresses import (
    AddressIndex,
    Network,
    address_halves,
    address_number,
    canonical,
    network_number,
    network_set,
    number_address,
    parse_address,
    parse_network,
)

# few distinct bits, so that random networks do hold random addresses
v4 = st.builds(lambda a, b: IPv4Address(a << 24 | b), st.integers(9, 11), st.integers(0, 15))
v6 = st.builds(lambda a, b: IPv6Address(a << 120 | b), st.integers(0x20, 0x22), st.integers(0, 15))
networks = st.one_of(
    st.builds(lambda a, n: ip_network((a, n), strict=False), v4, st.integers(0, 32)),
    st.builds(lambda a, n: ip_network((a, n), strict=False), v6, st.integers(0, 128)),
)


@given(st.lists(networks, max_size=30), st.one_of(v4, v6))
@settings(max_examples=300)
def test_index_finds_what_brute_force_finds(held: list[Network], address: IPv4Address | IPv6Address) -> None:
    index = AddressIndex((network, network) for network in held)
    covering = {network for network in held if address.version == network.version and address in network}
    found = list(index.covering(address))
    assert set(found) == covering
    assert [network.prefixlen for network in found] == sorted((n.prefixlen for n in covering), reverse=True)
    assert (address in index) == bool(covering)
    assert len(index) == len(set(held))


@given(st.integers(0, 2**32 - 1))
def test_mapped_addresses_are_the_ipv4_address(number: int) -> None:
    address = IPv4Address(number)
    assert parse_address(f"::ffff:{address}") == address
    assert parse_address(IPv6Address(0xFFFF << 32 | number).exploded) == address
    assert parse_network(f"::ffff:{address}/128") == ip_network(address)


@given(networks)
def test_canonical_text_reads_back(network: Network) -> None:
    assert parse_network(canonical(network)) == parse_network(str(network))


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for parse in (parse_address, parse_network):
        try:
            parse(text)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::FFFF:203.0.113.7", "203.0.113.7"),
        ("0:0:0:0:0:ffff:cb00:7107", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.7%1", "203.0.113.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::203.0.113.7", "::cb00:7107"),
    ],
)
def test_canonical_addresses(text: str, address: str) -> None:
    assert str(parse_address(text)) == address == str(ip_address(address))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "1.2.3",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4:80",
        "[::1]",
        "0x7f.1",
        "localhost",
        "\udcff",
        "%1",
        "1.2.3.4%eth0",
        "1.2.3.4%",
        "fe80::1%",
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::/0", "::/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::/032", "2001:db8::/32"),
    ],
)
def test_canonical_networks(text: str, network: str) -> None:
    assert canonical(parse_network(text)) == network


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8 or 10.0.0.1"),
        ("10.0.0.0/33", "0 to 32 bits"),
        ("::/129", "0 to 128 bits"),
        ("10.0.0.0/255.0.0.0", "0 to 32 bits"),
        ("10.0.0.0/", "0 to 32 bits"),
        ("10.0.0.0/-1", "0 to 32 bits"),
        ("10.0.0.0/²", "0 to 32 bits"),
        ("10.0.0.0/8/8", "0 to 32 bits"),
        ("/8", "IPv4 or IPv6"),
        ("1.2.3.4%eth0/24", "IPv4 or IPv6"),
        ("fe80::%/64", "IPv4 or IPv6"),
    ],
)
def test_no_networks(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_network(text)


def test_network_set_names_the_element() -> None:
    with pytest.raises(ValueError, match=r"^deny\[1\]: .*10.0.0.0/99"):
        network_set(["10.0.0.1", "10.0.0.0/99"], "deny")


hexadecimal = st.lists(st.sampled_from(["0", "1", "ffff", "", "a00", "1.2.3.4", "01"]), max_size=9)
spellings = st.one_of(
    st.text(alphabet="0123456789abf.:%/ \u0661", max_size=20),
    hexadecimal.map(":".join),
    st.lists(st.sampled_from(["0", "1", "10", "255", "256", "01", ""]), max_size=5).map(".".join),
    st.one_of(v4, v6).map(str),
    v4.map("::ffff:{}%eth0".format),
)


@given(spellings)
@settings(max_examples=500)
def test_the_fast_reading_is_the_slow_one(text: str) -> None:
    try:
        slow = parse_address(text)
    except ValueError:
        with pytest.raises(ValueError, match="address"):
            address_number(text)
        return
    assert address_number(text) == (slow.version, int(slow))
    version, high, low = address_halves(text)
    assert (version, high << 64 | low) == (slow.version, int(slow))
    assert number_address(*address_number(text)) == str(slow)


@given(networks)
def test_a_canonical_network_as_numbers(network: Network) -> None:
    expected = (network.version, int(network.network_address), network.prefixlen)
    assert network_number(canonical(network)) == expected


@pytest.mark.parametrize(
    "text", ["10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "x/8", "", "::1/127"]
)
def test_no_network_as_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        network_number(text)
