"""Imported sets of blocks and named lists: read, checked as a whole, replaced in one step; on both stores."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kong_plugins.state.base import Conflict, Store
from kong_plugins.state.operations import allows, blocks, imports, lists
from kong_plugins.state.operations.common import NotFound
from kong_plugins.state.operations.import_rows import BadRows
from tests.kong_plugins.state.stores import make, store

__all__ = ["make", "store"]


def test_a_plain_import_is_one_step(store: Store) -> None:
    lines = [
        "# feed\n",
        "203.0.113.7\r\n",
        "\n",
        "2001:DB8::/32 # spam net\n",
        "203.0.113.7\n",
        "agent:EvilBot\n",
    ]
    done: list[int] = []
    report = imports.import_blocks(
        store, "feed", lines, actor="kim", reason="abuse list", ttl=3600, progress=done.append
    )
    assert report == ("feed", "blocks", 3, 3, 0, 1, 1, False)
    assert done[-1] == 3
    first = store.version()
    assert [made.value for made in blocks.entries(store)] == ["203.0.113.7", "2001:db8::/32", "evilbot"]
    made = next(blocks.entries(store))
    assert (made.reason, made.actor, made.source) == ("abuse list", "kim", "import:feed")
    assert made.expires == pytest.approx(store.now() + 3600, abs=30)
    assert list(blocks.entries(store, imported=False)) == []
    (event,) = store.events(9)
    assert (event.kind, event.subject, event.actor) == ("block.import", "feed", "kim")
    assert (event.data["rows"], event.data["added"]) == (3, 3)
    again = imports.import_blocks(store, "feed", ["203.0.113.7", "198.51.100.0/24"], actor="lee")
    assert again[2:7] == (2, 1, 2, 0, 2)
    assert store.version() == first + 1
    assert blocks.check(store, "198.51.100.9").refused
    assert not blocks.check(store, "2001:db8::1").refused
    (source,) = imports.sources(store)
    assert (source.name, source.size, source.actor, source.version) == ("feed", 2, "lee", 2)
    with pytest.raises(NotFound, match="of import:feed"):
        blocks.remove(store, "198.51.100.0/24", actor="kim")
    assert imports.remove(store, "feed", actor="kim").size == 2
    assert list(blocks.entries(store)) == []
    with pytest.raises(NotFound, match="no imported set feed"):
        imports.remove(store, "feed", actor="kim")


def test_a_csv_import_has_reasons_and_ends(store: Store) -> None:
    now = store.now()
    lines = [
        "\ufeffid,Target,reason,ttl,expires",
        '1,203.0.113.1,"scans, a lot",10m,',
        f"2,203.0.113.2,,,{now + 90}",
        "3,203.0.113.3,,,2999-01-02T03:04:05Z",
        "4,user:kim,,,",
        ",,,,",
    ]
    imports.import_blocks(store, "feed", lines, actor="kim", reason="own", ttl=86_400)
    one, two, three, four = blocks.entries(store)
    assert (one.reason, two.reason, four.kind) == ("scans, a lot", "own", "user")
    for made, ttl in ((one, 600), (two, 90), (three, 86_400), (four, 86_400)):
        assert made.expires == pytest.approx(now + ttl, abs=30)


def test_an_export_is_an_import(store: Store) -> None:
    blocks.add(store, "203.0.113.1", actor="kim", reason='a "b", c', ttl=600)
    blocks.add(store, "user:https://a|é,x", actor="kim")
    blocks.add(store, "agent:evil bot", actor="kim")
    imports.import_blocks(store, "feed", ["198.51.100.0/24"], actor="kim", reason="r")
    before = [(b.kind, b.value, b.reason, b.expires) for b in blocks.entries(store)]
    lines = list(imports.export_lines(blocks.entries(store)))
    imports.import_blocks(store, "all", lines, actor="lee")
    (source,) = (found for found in imports.sources(store) if found.name == "all")
    assert source.size == 4
    copied = [b for b in blocks.entries(store) if b.source == "import:all"]
    assert sorted((b.kind, b.value, b.reason, b.expires) for b in copied) == sorted(
        before, key=lambda b: b[:2]
    )


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        (["203.0.113.1", "nonsense"], 2, "'nonsense'"),
        (["203.0.113.1", "", "10.0.0.0/7"], 3, "wider than /8"),
        (["10.0.0.1", "203.0.113.99"], 2, "touches the allow 203.0.113.99"),
        (["10.0.0.1", "203.0.113.0/24"], 2, "touches the allow 203.0.113.99"),
        (["target,ttl", "10.0.0.1,0"], 2, "ttl"),
        (["target,ttl", "10.0.0.1,soon"], 2, "ttl"),
        (["target,expires", "10.0.0.1,12.5"], 2, "is over"),
        (["target,expires", "10.0.0.1,2001-01-01"], 2, "is over"),
        (["target,expires", "10.0.0.1,nan"], 2, "is over"),
        (["target,expires", "10.0.0.1,tomorrow"], 2, "ISO 8601"),
        (["target,ttl,expires", "10.0.0.1,1m,4000000000"], 2, "one of them"),
        (["target,reason", f"10.0.0.1,{'x' * 201}"], 2, "reason"),
        (["target,reason", "10.0.0.1,a", "10.0.0.1,b"], 3, "twice"),
        (["reason,target", "b"], 2, "nothing in column target"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_one_bad_line_and_nothing_is_written(
    store: Store, lines: list[str], line: int, says: str, dry_run: bool
) -> None:
    allows.add(store, "203.0.113.99", actor="kim")
    version = store.version()
    with pytest.raises(BadRows) as caught:
        imports.import_blocks(store, "feed", lines, actor="kim", dry_run=dry_run)
    assert caught.value.count == 1
    (problem,) = caught.value.problems
    assert problem.line == line
    assert says in problem.message
    assert str(caught.value).startswith(f"line {line}: ")
    assert store.version() == version


def test_many_problems_are_counted(store: Store) -> None:
    with pytest.raises(BadRows, match=r"line 1: .* \(and 99 more\)") as caught:
        imports.import_blocks(store, "feed", ["x y"] * 100, actor="kim")
    assert (caught.value.count, len(caught.value.problems)) == (100, 20)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "a b"}, "name"),
        ({"ttl": -1.0}, "ttl"),
        ({"reason": "\n"}, "reason"),
        ({"lines": ["# nothing"]}, "no rows"),
    ],
)
def test_bad_options(store: Store, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        imports.import_blocks(store, **{"name": "feed", "lines": ["10.0.0.1"], "actor": "kim", **options})
    assert (store.version(), store.events(9)) == (0, [])


def test_a_dry_run_says_what_would_change(store: Store) -> None:
    imports.import_blocks(store, "feed", ["10.0.0.1", "10.0.0.2"], actor="kim")
    version = store.version()
    report = imports.import_blocks(store, "feed", ["10.0.0.2", "10.0.0.3"], actor="kim", dry_run=True)
    assert report == ("feed", "blocks", 2, 1, 1, 0, 0, True)
    assert (store.version(), len(store.events(9))) == (version, 1)


def test_imports_at_the_same_time_leave_one_of_them_whole(store: Store) -> None:
    def run(net: int) -> None:
        imports.import_blocks(store, "feed", (f"10.{net}.0.{n}" for n in range(200)), actor="kim")

    threads = [threading.Thread(target=run, args=(net,)) for net in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nets = [made.value.split(".")[1] for made in blocks.entries(store)]
    assert len(nets) == 200
    assert len(set(nets)) == 1
    with pytest.raises(Conflict, match="is at version 3, not 1"):
        imports.import_blocks(store, "feed", ["10.9.0.0"], actor="kim", if_version=1)


def test_lists(store: Store) -> None:
    users = ["user", "kim", "https://a|lee é", "kim"]
    report = lists.import_list(store, "testers", "users", users, actor="kim", reason="beta")
    assert report == ("testers", "users", 2, 2, 0, 1, 1, False)
    lists.import_list(store, "offices", "addresses", ["203.0.113.7", "10.0.0.0/7", "::/0"], actor="kim")
    about, entries = lists.show(store, "testers")
    assert (about.kind, about.size, about.reason) == ("users", 2, "beta")
    assert sorted(entries) == ["https://a|lee é", "kim"]
    about, entries = lists.show(store, "offices")
    assert sorted(entries) == ["10.0.0.0/7", "203.0.113.7", "::/0"]
    assert [found.name for found in lists.entries(store)] == ["offices", "testers"]
    assert lists.remove(store, "offices", actor="kim").size == 3
    for call in (lists.show, lambda s, name: lists.remove(s, name, actor="kim")):
        with pytest.raises(NotFound, match="no list offices"):
            call(store, "offices")
    assert [event.kind for event in store.events(9)] == ["list.import", "list.import", "list.remove"]
    with pytest.raises(ValueError, match="kind"):
        lists.import_list(store, "x", "routes", ["a"], actor="kim")
    with pytest.raises(BadRows, match="line 2"):
        lists.import_list(store, "x", "addresses", ["10.0.0.1", "kim"], actor="kim")
