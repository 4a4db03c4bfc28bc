"""Every spelling of every gateway header goes, and nothing else."""

from __future__ import annotations

import itertools

import pytest

NAMES = ["X-Passport", "Txn-Token", "X-Canary", "X-Abuse-Score"]


def left(world, headers, names=NAMES):
    world.request(headers=headers)
    world.module("kgate.strip").run(world.table(names))
    return [(name, value) for name, value in world.py(world.fake[b"request_headers"]()) or []]


def spellings(name):
    parts = name.split("-")
    for marks in itertools.product("-_", repeat=len(parts) - 1):
        spelled = parts[0] + "".join(mark + part for mark, part in zip(marks, parts[1:], strict=True))
        yield from (spelled, spelled.lower(), spelled.upper())


@pytest.mark.parametrize("header", [s for name in NAMES for s in spellings(name)])
def test_each_spelling_is_removed(world, header):
    assert left(world, [("Accept", "*/*"), (header, "forged")]) == [("Accept", "*/*")]


def test_names_are_never_code(world):
    names = ['x"] = os.exit()', "x\n]]", "x\\", "%d%q", ""]
    assert left(world, [(name, "forged") for name in names] + [("X", "kept")], names) == [("X", "kept")]


def test_no_name_at_all(world):
    assert left(world, [("X-Passport", "mine")], []) == [("X-Passport", "mine")]


def test_all_spellings_at_once_and_twice(world):
    headers = [(s, "forged") for s in spellings("X-Abuse-Score")] * 2
    assert left(world, [*headers, ("X-Abuse-Scores", "kept"), ("XAbuse-Score", "kept")]) == [
        ("X-Abuse-Scores", "kept"),
        ("XAbuse-Score", "kept"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", {"plain"}),
        ("X-P", {"x-p", "x_p"}),
        ("a_b-c", {"a-b-c", "a-b_c", "a_b-c", "a_b_c"}),
    ],
)
def test_spellings(world, name, expected):
    assert set(world.py(world.module("kgate.strip").spellings(name.encode()))) == expected


def test_a_name_with_many_separators_is_still_removed(world):
    name = "a-b-c-d-e-f-g-h-i"
    assert left(world, [(name.replace("-", "_"), "forged")], [name]) == []


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("keep-alive", "keep-alive"),
        ("close, X-Passport", "close"),
        ("keep-alive, x_passport, Upgrade", "keep-alive, Upgrade"),
        ("X-Abuse_Score", "close"),
        ("close, X-Other", "close, X-Other"),
    ],
)
def test_connection_cannot_name_a_gateway_header(world, connection, expected):
    assert left(world, [("Connection", connection)]) == [("Connection", expected)]


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([("Accept", "*/*")], True),
        ([("Connection", "Upgrade")], True),
        ([("X_Passport", "forged")], False),
        ([("Connection", "close, X-Passport")], False),
    ],
)
def test_kongs_copy_of_the_headers_is_dropped_with_them(world, headers, kept):
    world.request(headers=headers, ctx={"cached_request_headers": {"some": "copy"}})
    world.module("kgate.strip").run(world.table(NAMES))
    copy = world.lua.globals()[b"ngx"][b"ctx"][b"cached_request_headers"]
    assert (copy is not None) is kept
