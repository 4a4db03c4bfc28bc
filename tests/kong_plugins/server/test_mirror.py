"""A worker's copy of the control state, and what the supervisor keeps for workers that start later."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from kong_plugins.identity.trust import Trust
from kong_plugins.server.decider import Decider
from kong_plugins.server.feed import Feed
from kong_plugins.server.mirror import Mirror
from kong_plugins.state.base import CanaryOverride
from kong_plugins.state.build_image import build_image
from kong_plugins.state.canaries import override_record
from kong_plugins.state.cells import Cells
from kong_plugins.state.image import sealed_memfd
from kong_plugins.state.overlay import pack_changes
from kong_plugins.state.records import Delete, Put, Record, StateDump

ADDRESS = "203.0.113.7"


@pytest.fixture
def cells() -> Any:
    fd = Cells.create(64)
    found = Cells.attach(fd)
    yield found
    found.close()
    os.close(fd)


@pytest.fixture
def mirror(cells: Cells) -> Mirror:
    return Mirror(Decider(lambda: 0.0), Trust.empty(), cells)


def image(version: int, *records: Record) -> int:
    held: dict[str, list[Record]] = {}
    for record in records:
        held.setdefault(record.collection, []).append(record)
    return sealed_memfd(build_image(StateDump(version, held, {})))


def block(version: int) -> list[Any]:
    return [version, pack_changes([Put(Record("blocks", f"ip {ADDRESS}", {}))]), {}]


def unblock(version: int) -> list[Any]:
    return [version, pack_changes([Delete("blocks", f"ip {ADDRESS}")]), {}]


def blocked(mirror: Mirror) -> bool:
    state = mirror._decider.state
    assert state is not None
    assert state.snapshot is mirror.snapshot
    return state.snapshot.blocks.match(ADDRESS, 0.0) is not None


def test_what_this_node_found_alone_holds_from_a_new_image_on(mirror: Mirror) -> None:
    """Not from a moment after it: a decision between them would let the blocked one pass."""
    mirror.image([], image(5))
    mirror.delta(block(5))
    assert blocked(mirror)
    mirror.image([], image(9), [block(5)])
    assert blocked(mirror)
    assert mirror.report()["version"] == 9


def test_an_image_comes_with_the_changes_since(mirror: Mirror, cells: Cells) -> None:
    assert mirror._decider.state is None
    mirror.image([block(6)], image(5))
    assert blocked(mirror)
    mirror.delta(unblock(7))
    assert not blocked(mirror)
    assert mirror.report()["version"] == 7
    # an image older than what is here, with the changes that bring it up to date
    mirror.image([unblock(7), block(8)], image(6, Record("blocks", f"ip {ADDRESS}", {})))
    assert blocked(mirror)
    assert mirror._decider.state is not None
    assert mirror._decider.state.cells is cells


def test_what_cannot_be_used_leaves_the_last_state(mirror: Mirror) -> None:
    mirror.delta(block(1))
    assert mirror.snapshot is None, "a change without an image is nothing"
    mirror.image([], image(5, Record("blocks", f"ip {ADDRESS}", {})))
    kept = mirror.snapshot
    mirror.image([], None)
    mirror.image([], sealed_memfd(b"no image"))
    mirror.image([["x"]], image(6))
    mirror.delta([7, b"\xc1", {}])
    mirror.delta(None)
    assert mirror.snapshot is kept
    assert blocked(mirror)


LARGE = {"ip 10." + ".".join(map(str, (n >> 16, n >> 8 & 255, n & 255))): "" for n in range(90_000)}


def large_image(version: int, *records: Record) -> int:
    """Of more than a megabyte."""
    source = Record("sources", "feed", {"kind": "blocks", "count": len(LARGE), "bulk": "b" * 32})
    held: dict[str, list[Record]] = {"sources": [source]}
    for record in records:
        held.setdefault(record.collection, []).append(record)
    return sealed_memfd(build_image(StateDump(version, held, {"b" * 32: LARGE})))


class Loop:
    """Calls later what it is told to, when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def later(self, seconds: float, call: Any) -> None:
        assert seconds > 0
        self.calls.append(call)

    def run(self, most: int = 10_000) -> int:
        """The number of calls that were made."""
        made = 0
        while self.calls and made < most:
            self.calls.pop(0)()
            made += 1
        return made


def test_a_large_image_is_mapped_step_by_step_before_it_counts(cells: Cells) -> None:
    loop = Loop()
    mirror = Mirror(Decider(lambda: 0.0), Trust.empty(), cells, loop.later)
    mirror.image([], large_image(5))
    assert (mirror.report()["version"], loop.calls) == (5, []), "the first one is used at once"
    mirror.image([block(6)], large_image(5, Record("blocks", "ip 192.0.2.1", {})))
    assert mirror.report()["version"] == 5
    assert not blocked(mirror)
    assert loop.run(3) == 3
    # changes count at once, before it and after it
    mirror.delta(block(7))
    assert blocked(mirror)
    mirror.delta(unblock(8))
    assert not blocked(mirror)
    assert loop.run() > 3
    assert mirror.report()["version"] == 8
    assert not blocked(mirror)
    assert mirror.snapshot is not None
    assert mirror.snapshot.blocks.match("192.0.2.1", 0.0) is not None


@pytest.mark.parametrize("after", ["small", "large", "empty"])
def test_what_comes_after_a_large_image_takes_its_place(cells: Cells, after: str) -> None:
    loop = Loop()
    mirror = Mirror(Decider(lambda: 0.0), Trust.empty(), cells, loop.later)
    mirror.image([], image(1))
    mirror.image([], large_image(5))
    loop.run(2)
    if after == "empty":
        mirror.empty()
    else:
        mirror.image([block(7)], (image if after == "small" else large_image)(6))
    loop.run()
    assert blocked(mirror) == (after != "empty")
    assert mirror.report()["version"] == (0 if after == "empty" else 7)


def test_without_a_store_nothing_is_blocked(mirror: Mirror) -> None:
    mirror.empty()
    assert not blocked(mirror)


def test_lists_that_are_not_there_are_reported(mirror: Mirror) -> None:
    mirror._decider.register("abuse-guard", json.dumps({"deny_lists": ["a", "b"]}))
    assert mirror.report()["missing_lists"] == []
    canary = override_record(CanaryOverride("v2", users_list="c"))
    mirror.image([], image(1, canary))
    assert mirror.report()["missing_lists"] == ["a", "b", "c"]


def test_the_cells_report_what_is_new(mirror: Mirror, cells: Cells) -> None:
    cells.evicted = 3
    assert mirror.report()["cells"] == [3, 0]
    cells.evicted = 5
    assert mirror.report()["cells"] == [2, 0]


class Process:
    """A process that remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *message: Any, fd: int | None = None) -> None:
        self.sent.append(message)
        if fd is not None:
            os.close(fd)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_worker_that_starts_gets_image_changes_and_then_the_word_to_go() -> None:
    feed, early, late = Feed(), Process(), Process()
    before = open_files()
    feed.greet(early)  # type: ignore[arg-type]
    assert early.sent == [], "nothing is known yet: it waits"
    feed.image(5, [], image(5), [early])  # type: ignore[list-item]
    feed.settle([early])  # type: ignore[list-item]
    feed.settle([early])  # type: ignore[list-item]
    feed.delta(block(6), [early])  # type: ignore[list-item]
    assert early.sent == [("image", 5, [block(6)], []), ("go", False), ("delta", block(6))]
    feed.greet(late)  # type: ignore[arg-type]
    assert late.sent == [("image", 5, [block(6)], []), ("go", False)]
    feed.image(6, [block(7)], image(6), [late])  # type: ignore[list-item]
    assert late.sent[-1] == ("image", 6, [block(7)], [])
    feed.clear()
    assert open_files() == before


def test_without_a_store_workers_go_at_once() -> None:
    feed, process = Feed(), Process()
    feed.empty = True
    feed.settle([])
    feed.greet(process)  # type: ignore[arg-type]
    assert process.sent == [("go", True)]


def test_the_keyring_follows_each_state_without_a_request(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a key takes longer than a decision has time."""
    seen: list[object] = []
    monkeypatch.setattr(mirror._trust, "follow", seen.append)
    mirror.empty()
    assert seen == [mirror.snapshot]


def test_each_new_state_is_told_once_it_counts(cells: Cells) -> None:
    """Leases are taken back with it: what is asked from then on is decided by the new one."""
    loop, seen = Loop(), list[Any]()
    decider = Decider(lambda: 0.0)
    mirror = Mirror(decider, Trust.empty(), cells, loop.later, lambda: seen.append(decider.state))

    def told() -> int:
        assert all(state is not None for state in seen)
        assert not seen or seen[-1] is decider.state
        found = len(seen)
        seen.clear()
        return found

    mirror.delta(block(1))
    assert told() == 0, "there is no state yet"
    mirror.image([block(6)], image(5))
    assert told() == 1
    mirror.delta(unblock(7))
    assert told() == 1
    mirror.image([], None)
    mirror.delta("no change")
    assert told() == 0, "the last one stays"
    mirror.empty()
    assert told() == 1
