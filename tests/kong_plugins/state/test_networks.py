"""The cuts of an address space give what a walk over all networks gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kong_plugins.state.addresses import number_address
from kong_plugins.state.networks import (
    NetworkSet,
    NetworkTable,
    NetworkTableBuilder,
    build_network_set,
)

Network = tuple[int, int, int]
# few addresses, so that networks nest, touch and end together; both ends of the space; both halves of IPv6
PLACES = {
    4: [0, 1, 2, 3, 4, 8, 0x0A000000, 0x0A000001, 0xFFFFFFFE, 0xFFFFFFFF],
    6: [0, 1, 1 << 64, (1 << 64) - 1, (1 << 64) + 1, 5 << 64, (1 << 128) - 1, ((1 << 64) - 1) << 64],
}
LOW = (1 << 64) - 1
WIDTH = {4: 32, 6: 128}
addresses = st.sampled_from([4, 6]).flatmap(
    lambda version: st.tuples(st.just(version), st.sampled_from(PLACES[version]))
)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    version, number = draw(addresses)
    width = WIDTH[version]
    bits = draw(
        st.sampled_from([0, 1, 8, 24, 29, 30, 31, 32, 63, 64, 65, 96, 127, 128]).filter(lambda n: n <= width)
    )
    return version, number >> (width - bits) << (width - bits), bits


def holds(network: Network, version: int, number: int) -> bool:
    shift = WIDTH[version] - network[2]
    return network[0] == version and network[1] >> shift == number >> shift


def views(sections: dict[str, bytes]) -> dict[str, memoryview]:
    return {name: memoryview(held) for name, held in sections.items()}


@given(st.lists(networks(), max_size=12), st.lists(addresses, min_size=1, max_size=8))
def test_every_covering_network_from_the_narrowest_out(
    held: list[Network], asked: list[tuple[int, int]]
) -> None:
    builder = NetworkTableBuilder()
    for term, (version, number, bits) in enumerate(held):
        builder.add(version, number, bits, term)
    table = NetworkTable(views(builder.sections("n")), "n")
    assert len(table) == len(held)
    for version, number in asked:
        entry = table.narrowest(version, number >> 64, number & LOW)
        assert table.find(number_address(version, number)) == entry
        found = []
        while entry >= 0:
            found.append((table.bits[entry], table.terms[entry]))
            entry = table.parents[entry]
        expected = [(one[2], term) for term, one in enumerate(held) if holds(one, version, number)]
        # of one network, the entry with the larger term comes first
        assert found == sorted(expected, reverse=True)


@given(st.lists(networks(), max_size=12), st.lists(addresses, min_size=1, max_size=8))
def test_membership(held: list[Network], asked: list[tuple[int, int]]) -> None:
    table = NetworkSet(views(build_network_set("n", held)), "n")
    for version, number in asked:
        assert table.holds(version, number >> 64, number & LOW) == any(
            holds(one, version, number) for one in held
        )
