"""Repeat offenders: known to all nodes, and to the process that takes over."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from kong_plugins.abuse_guard import analyst
from kong_plugins.abuse_guard.offenders import FORGIVEN_AFTER, Offenders
from kong_plugins.engine.analyst import Conclusion
from tests.kong_plugins.abuse_guard.site import IP, NOW, SIMPLE, Site, kinds

KEY = ("id", "ip 203.0.113.7")


def others(site: Site, count: int, now: float) -> list[Conclusion]:
    return site.analyst.take([site.outcome() for _ in range(count)], now)


def test_an_offence_that_one_node_found_counts_on_the_other() -> None:
    one, other = Site(SIMPLE), Site(SIMPLE)
    (block,) = one.send(4)
    told = one.analyst.tell(NOW + 1)
    assert told is not None
    assert other.analyst.merge("one", msgpack.unpackb(msgpack.packb(told)), NOW + 1) == []
    assert one.analyst.tell(NOW + 2) is None, "told once"
    assert other.analyst.tell(NOW + 2) is None, "what others told is not told again"
    (again,) = others(other, 4, NOW + 1000)
    assert (block.numbers["offence"], again.numbers["offence"]) == (1, 2)
    assert 180 <= (again.ttl or 0) <= 220
    back = other.analyst.tell(NOW + 1001)
    assert back is not None
    one.analyst.merge("other", back, NOW + 1001)
    assert one.send(4, NOW + 2000)[0].numbers["offence"] == 3


def test_what_is_under_way_on_the_other_node_is_no_second_offence() -> None:
    one, other = Site(SIMPLE), Site(SIMPLE)
    one.send(4)
    told = one.analyst.tell(NOW + 1)
    assert told is not None
    other.analyst.merge("one", told, NOW + 1)
    assert others(other, 4, NOW + 2) == []
    assert others(other, 4, NOW + 40)[0].numbers["offence"] == 2


def test_what_is_done_for_a_moment_keeps_the_other_node_quiet_for_a_moment() -> None:
    one, other = Site({**SIMPLE, "ttl": 2}), Site({**SIMPLE, "ttl": 2})
    one.send(4)
    told = one.analyst.tell(NOW + 0.5)
    assert told is not None
    other.analyst.merge("one", told, NOW + 0.5)
    assert others(other, 4, NOW + 1) == []
    assert others(other, 4, NOW + 3)[0].numbers["offence"] == 2


def test_a_node_that_does_not_have_the_config_yet_knows_the_offence_when_it_comes() -> None:
    one, other = Site(SIMPLE), Site(SIMPLE)
    one.send(4)
    told = one.analyst.tell(NOW + 1)
    assert told is not None
    other.analyst.configure([])
    other.analyst.merge("one", told, NOW + 1)
    other.analyst.configure([other.config])
    assert others(other, 4, NOW + 40)[0].numbers["offence"] == 2


def test_two_nodes_that_find_somebody_at_once_count_one_offence() -> None:
    one, other = Site(SIMPLE), Site(SIMPLE)
    one.send(4)
    others(other, 4, NOW)
    for teller, hearer in ((one, other), (other, one)):
        told = teller.analyst.tell(NOW + 1)
        assert told is not None
        hearer.analyst.merge("n", told, NOW + 1)
    assert one.send(4, NOW + 1000)[0].numbers["offence"] == 2


def test_who_was_not_blocked_is_no_offender_elsewhere() -> None:
    site = Site(SIMPLE, allow=["203.0.113.0/24"])
    assert kinds(site.send(4)) == ["abuse.held_back"]
    told = site.analyst.tell(NOW + 1)
    assert told is None or "o" not in told


@pytest.mark.parametrize(
    "row",
    [
        1,
        [],
        ["id", "g", 1],
        ["id", "g", "x", 9],
        ["id", "g", 0, 9],
        ["id", "g", 1e9, 9],
        ["id", "g", 1, "x"],
    ],
)
def test_what_another_version_tells_breaks_nothing(row: Any) -> None:
    held = Offenders(9)
    held.merge([row, ["id", KEY[1], 3, 1e9]], NOW)
    assert (len(held), held.before(KEY, NOW + 60)) == (1, 3)


@pytest.mark.parametrize("rows", [1, {}, "x", None])
def test_what_is_no_list_is_left_out(rows: Any) -> None:
    assert Site(SIMPLE).analyst.merge("n", {"o": rows}, NOW) == []


def test_the_one_longest_ago_makes_room() -> None:
    held = Offenders(limit=3)
    for number in range(4):
        held.found(("id", f"ip {number}"), 60, True, NOW + number)
        held.found(("id", "ip 0"), 60, True, NOW + number + 0.5)
    assert len(held) == 3
    at = NOW + 100
    assert held.before(("id", "ip 1"), at) == 0, "forgotten"
    assert (held.before(("id", "ip 0"), at), held.before(("id", "ip 3"), at)) == (5, 1)
    held.merge([["id", f"ip {number}", 1, 9] for number in range(10, 20)], at)
    assert len(held) == 3
    assert len(held.told(100, at)) <= 3


def test_after_a_week_it_is_a_first_one() -> None:
    held = Offenders(9)
    held.found(KEY, 60, True, NOW)
    assert held.before(KEY, NOW + FORGIVEN_AFTER) == 1
    assert held.before(KEY, NOW + FORGIVEN_AFTER + 1) == 0
    held.found(KEY, 60, True, NOW + FORGIVEN_AFTER + 1)
    at = NOW + FORGIVEN_AFTER + 1
    assert held.told(9, at + 4) == [[*KEY, 1, 26]]
    assert held.told(9, at) == []


# a reload


def taken_over(site: Site, *scenarios: dict[str, Any], now: float = NOW) -> Site:
    """What the next process knows, with these scenarios."""
    found = Site(*scenarios)
    found.analyst.resume(msgpack.unpackb(msgpack.packb(site.analyst.keep()), strict_map_key=False), now)
    return found


def test_the_next_process_goes_on_with_what_was_counted() -> None:
    paths = {**SIMPLE, "name": "paths", "distinct": "path", "capacity": 5, "leak": 0.001, "then": ["notify"]}
    site = Site(SIMPLE, paths)
    site.send(3, path="/a")
    site.send(1, path="/b", now=NOW + 100)
    later = taken_over(site, SIMPLE, paths)
    assert later.send(2, path="/b", now=NOW + 100) == [], (
        "of three two have leaked out, and /b is no new path"
    )
    assert "many: 4 requests in 0 s" in later.send(1, path="/a", now=NOW + 100)[0].reason
    found = later.send(9, path=lambda number: f"/{number % 4}", now=NOW + 200)
    assert ["paths: 6 different paths" in one.reason for one in found if "paths" in one.reason] == [True]
    assert "in 200 s" in next(one.reason for one in found if "paths" in one.reason)


def test_the_next_process_knows_the_offenders() -> None:
    site = Site(SIMPLE)
    site.send(4)
    later = taken_over(site, SIMPLE, now=NOW + 1)
    assert later.send(4, NOW + 2) == [], "what was under way"
    assert later.send(4, NOW + 500)[0].numbers["offence"] == 2


def test_what_is_not_configured_any_more_is_not_taken_over() -> None:
    good = {**SIMPLE, "statuses": ["200"]}
    site = Site(good, {**SIMPLE, "name": "other", "statuses": ["404"]})
    site.send(3)
    site.send(7, status=404)
    later = taken_over(site, good)
    kept = later.analyst.keep()
    assert (later.analyst.levels()["buckets"], kept["offenders"]) == (1, [])
    assert kinds(later.send(1)) == ["block.add"]


def test_what_is_handed_over_is_bounded_and_the_fullest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyst, "MAX_KEPT", 10)
    site = Site({**SIMPLE, "leak": 0.001})
    site.send(3, ip=IP)
    site.send(500, ip=lambda number: f"9.9.{number >> 8}.{number & 255}")
    later = taken_over(site, {**SIMPLE, "leak": 0.001})
    assert later.analyst.levels()["buckets"] == 10
    assert kinds(later.send(1, ip=IP)) == ["block.add"]


def test_what_is_handed_over_holds_so_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload waits for it."""
    monkeypatch.setattr(analyst, "MAX_KEPT_VALUES", 100)
    paths = {**SIMPLE, "distinct": "path", "capacity": 60, "leak": 0.001}
    site = Site(paths)
    for ip, count in (("9.9.9.1", 50), ("9.9.9.2", 60), ("9.9.9.3", 45), ("9.9.9.4", 30)):
        site.send(count, ip=ip, path=lambda number: f"/{number}")
    later = taken_over(site, paths)
    assert sorted(row[1] for row in later.analyst.keep()["buckets"]) == ["ip 9.9.9.2", "ip 9.9.9.4"]
    assert later.analyst.buckets.values == 90


@pytest.mark.parametrize("kept", [{}, {"buckets": [], "offenders": 1}, {"buckets": [[1]], "offenders": []}])
def test_what_was_not_kept_so_is_refused(kept: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Site(SIMPLE).analyst.resume(kept, NOW)
