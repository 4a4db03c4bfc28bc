"""IP addresses and networks in canonical form, and an index over them.

Canonical means: a v4-mapped IPv6 address is its IPv4 address, a zone id is dropped, IPv6 is written as
RFC 5952 says. Everything that compares addresses goes through here, so that no second spelling of an
address gets past a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from struct import Struct
from typing import Generic, TypeVar

T = TypeVar("T")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_MAPPED_BITS = 96
"""Prefix length of ::ffff:0:0/96, the v4-mapped addresses (RFC 4291 section 2.5.5.2)."""


@lru_cache(maxsize=8192)
def parse_address(text: str) -> Address:
    """The canonical address of a text. Raises ValueError when it is not an IP address."""
    version, number = address_number(text)  # the C library reads it: five times faster than ip_address
    return IPv4Address(number) if version == 4 else IPv6Address(number)


_INET, _INET6 = int(AF_INET), int(AF_INET6)
from_bytes = int.from_bytes
halves = Struct(">QQ").unpack
_V4_MAPPED = 0xFFFF
"""The upper 96 bits of a v4-mapped address (::ffff:0:0/96, RFC 4291 section 2.5.5.2)."""


def address_halves(text: str) -> tuple[int, int, int]:
    """(IP version, upper 64 bits, lower 64 bits) of an address in canonical form: what `parse_address` says,
    without its objects and without numbers of more than 64 bits. The upper half of an IPv4 address is 0.

    Raises ValueError.
    """
    try:
        if ":" not in text:
            return 4, 0, from_bytes(inet_pton(_INET, text))
        high, low = halves(inet_pton(_INET6, text))
    except (OSError, ValueError) as error:
        host, _, zone = text.partition("%")
        if zone and ":" in host:
            return address_halves(host)
        raise ValueError(f"{text!r} does not appear to be an IPv4 or IPv6 address") from error
    if not high and low >> 32 == _V4_MAPPED:
        return 4, 0, low & 0xFFFFFFFF
    return 6, high, low


def address_number(text: str) -> tuple[int, int]:
    """(IP version, number) of an address in canonical form. Raises ValueError."""
    version, high, low = address_halves(text)
    return version, high << 64 | low


def number_address(version: int, number: int) -> str:
    """The canonical text of an address."""
    if version == 4:
        return inet_ntop(_INET, number.to_bytes(4))
    text = inet_ntop(_INET6, number.to_bytes(16))
    # the C library writes ::102:304 as ::1.2.3.4
    return str(IPv6Address(number)) if "." in text else text


def network_number(text: str) -> tuple[int, int, int]:
    """(IP version, number, prefix length) of `ADDRESS` or `ADDRESS/BITS`.

    For texts that were canonical when they were stored: it refuses bits after the prefix with ValueError, but
    takes an IPv6 address in any spelling.
    """
    host, slash, length = text.partition("/")
    version, number = address_number(host)
    width = 32 if version == 4 else 128
    bits = int(length) if slash else width
    if not 0 <= bits <= width or number & ((1 << (width - bits)) - 1):
        raise ValueError(f"{text!r} is no network")
    return version, number, bits


def parse_network(text: str) -> Network:
    """The canonical network of `ADDRESS` or `ADDRESS/BITS`.

    Raises ValueError for anything else: netmasks in place of bits, host bits that are set (a typing
    error more often than not), names.
    """
    host, slash, bits = text.partition("/")
    address = ip_address(host)
    if "%" in host:
        address = ip_address(host.partition("%")[0])
    if not slash:
        return ip_network(parse_address(host))
    if not (bits.isascii() and bits.isdigit()) or int(bits) > address.max_prefixlen:
        raise ValueError(f"{text!r} is not ADDRESS/BITS with 0 to {address.max_prefixlen} bits")
    length = int(bits)
    network = ip_network((address, length), strict=False)
    if network.network_address != address:
        raise ValueError(f"{text!r} has bits set after the prefix: write {network} or {address}")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and length >= _MAPPED_BITS:
        return ip_network((address.ipv4_mapped, length - _MAPPED_BITS))
    return network


def canonical(network: Network) -> str:
    """The network as text; a network of one address is written as that address."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


class AddressIndex(Generic[T]):
    """Values by network. A lookup costs one dict lookup for each prefix length in use.

    Two values of the same network: the later one stays.
    """

    __slots__ = ("_by_length", "_size")

    def __init__(self, entries: Iterable[tuple[Network, T]]) -> None:
        tables: dict[tuple[int, int], dict[int, T]] = {}
        for network, value in entries:
            shift = network.max_prefixlen - network.prefixlen
            table = tables.setdefault((network.version, shift), {})
            table[int(network.network_address) >> shift] = value
        self._size = sum(len(table) for table in tables.values())
        # the smallest shift is the longest prefix: the most specific network comes first
        ordered = sorted(tables.items(), key=lambda item: item[0])
        self._by_length: dict[int, tuple[tuple[int, dict[int, T]], ...]] = {
            version: tuple((shift, table) for (of, shift), table in ordered if of == version)
            for version in (4, 6)
        }

    def covering(self, address: Address) -> Iterator[T]:
        """The values of all networks that hold the address, the most specific first."""
        number = int(address)
        for shift, table in self._by_length[address.version]:
            value = table.get(number >> shift)
            if value is not None:
                yield value

    def __contains__(self, address: Address) -> bool:
        tables = self._by_length[address.version]
        if not tables:
            return False
        number = int(address)
        for shift, table in tables:  # noqa: SIM110 - any() would cost more than the look-ups
            if number >> shift in table:
                return True
        return False

    def __len__(self) -> int:
        return self._size


def network_set(texts: Iterable[str], field: str) -> AddressIndex[bool]:
    """An index for membership alone, of a config's list. Raises ValueError as `field[n]: ...`."""
    entries = []
    for number, text in enumerate(texts):
        try:
            entries.append((parse_network(text), True))
        except ValueError as error:
            raise ValueError(f"{field}[{number}]: {error}") from error
    return AddressIndex(entries)
