"""The breaker on the blocker: shares of what is answered well and of the addresses of the last minute or two."""

from __future__ import annotations

import pytest

from kong_plugins.abuse_guard.governor import FREE_BLOCKS, Governor
from tests.kong_plugins.abuse_guard.site import NOW, SIMPLE, Site, kinds


def governor(good: int, *, of_group: int = 0, now: float = NOW) -> Governor:
    """One that has seen so many well-answered requests of different addresses, and some of "ip x"."""
    made = Governor(b"s" * 16)
    for number in range(good):
        made.saw((f"ip {number}",), f"ip {number}", True, now)
    for _ in range(of_group):
        made.saw(("ip x",), "ip x", True, now)
    return made


def allows(made: Governor, group: str, addresses: int = 1, now: float = NOW) -> bool:
    return made.allows(group, addresses, 0.1, 0.05, now) == ""


def test_blocks_of_a_minute_add_up_to_the_share_of_the_traffic() -> None:
    made = governor(1000)
    for name in ("ip x", "ip y", "ip z"):
        for _ in range(50):
            made.saw((name,), name, True, NOW)
    # 50 of 1150 each: two of them are less than a tenth, three are not
    assert [allows(made, name) for name in ("ip x", "ip y", "ip z")] == [True, True, False]
    assert made.refused == 1


def test_few_requests_say_nothing_of_shares() -> None:
    assert allows(governor(100, of_group=60), "ip x")
    assert not allows(governor(200, of_group=60), "ip x")


@pytest.mark.parametrize(("passed", "is_known"), [(59.0, True), (61.0, True), (119.0, True), (121.0, False)])
def test_the_minute_before_counts_too(passed: float, is_known: bool) -> None:
    made = governor(1000, of_group=200)
    made.saw(("ip 1",), "ip 1", True, NOW + passed)
    assert allows(made, "ip x", now=NOW + passed) == (not is_known)


@pytest.mark.parametrize(("passed", "is_free"), [(59.0, False), (61.0, False), (121.0, True)])
def test_blocks_of_the_minute_before_count_too(passed: float, is_free: bool) -> None:
    made = governor(0)
    assert all(allows(made, f"ip {number}") for number in range(FREE_BLOCKS))
    assert not allows(made, "ip next")
    assert allows(made, "ip next", now=NOW + passed) == is_free


def test_a_network_stands_for_more_than_an_address() -> None:
    """A /24 or /56 is not blocked as easily as one address."""
    site = Site({**SIMPLE, "group_by": ["network"]})
    found = [one for number in range(9) for one in site.send(4, ip=f"9.9.{number}.1")]
    assert kinds(found).count("block.add") == FREE_BLOCKS // 4
    alone = Site(SIMPLE)
    found = [one for number in range(30) for one in alone.send(4, ip=f"2a00:1:{number:x}::1")]
    assert kinds(found).count("block.add") == FREE_BLOCKS, "a /64 is one client's"


def test_what_is_answered_badly_is_nobody_s_share() -> None:
    made = governor(1000)
    for _ in range(5000):
        made.saw(("ip x",), "ip x", False, NOW)
    assert allows(made, "ip x")


def test_what_slows_down_alone_is_no_share_of_the_addresses() -> None:
    made = governor(0)
    assert all(allows(made, f"ip {number}") for number in range(FREE_BLOCKS))
    assert not allows(made, "ip next")
    assert allows(made, "ip next", addresses=0)
    busy = governor(1000, of_group=200)
    assert not allows(busy, "ip x", addresses=0)
